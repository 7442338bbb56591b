#include <stddef.h>

#include "common/base/str.h"
#include "jobs/provider/local.h"

const struct embedder_ops *const embedder_registry[] = { &local_embedder_ops, NULL };
const struct reranker_ops *const reranker_registry[] = { &local_reranker_ops, NULL };
const struct generator_ops *const generator_registry[] = { &extractive_generator_ops, NULL };

bool
embedder_open(const struct config *config, struct embedder **out, struct err *err)
{
	if (config->embedder != EMBEDDER_AUTO && config->embedder != EMBEDDER_LOCAL)
		return err_set(err, ERR_CONFIG,
			       "embedder '%s' is not part of this build (there are: local)",
			       config_embedder_names[config->embedder]);
	return local_embedder_ops.open(config, out, err);
}

void
embedder_close(struct embedder *embedder)
{
	if (embedder)
		embedder->ops->close(embedder);
}

bool
reranker_open(const struct config *config, struct reranker **out, struct err *err)
{
	switch ((enum config_reranker)config->reranker) {
	case RERANKER_NONE:
		*out = NULL;
		return true;
	case RERANKER_AUTO:
	case RERANKER_LOCAL:
		return local_reranker_ops.open(config, out, err);
	case RERANKER_COHERE:
		break;
	}
	return err_set(err, ERR_CONFIG,
		       "reranker 'cohere' is not part of this build (there are: local, none)");
}

void
reranker_close(struct reranker *reranker)
{
	if (reranker)
		reranker->ops->close(reranker);
}

bool
generator_open(const struct config *config, struct generator **out, struct err *err)
{
	if (config->generator != GENERATOR_AUTO && config->generator != GENERATOR_EXTRACTIVE)
		return err_set(err, ERR_CONFIG,
			       "generator '%s' is not part of this build (there are: extractive)",
			       config_generator_names[config->generator]);
	return extractive_generator_ops.open(config, out, err);
}

void
generator_close(struct generator *generator)
{
	if (generator)
		generator->ops->close(generator);
}
