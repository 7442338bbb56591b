#include <stddef.h>
#include <string.h>

#include "common/base/str.h"
#include "jobs/provider/cohere.h"
#include "jobs/provider/gemini.h"
#include "jobs/provider/local.h"
#include "jobs/provider/openai.h"
#include "jobs/provider/server_reranker.h"
#include "jobs/spec/choice.h"

const struct embedder_ops *const embedder_registry[] = { &local_embedder_ops, &gemini_embedder_ops,
							 &openai_embedder_ops, &cohere_embedder_ops,
							 NULL };
const struct reranker_ops *const reranker_registry[] = { &local_reranker_ops, &cohere_reranker_ops,
							 &jina_reranker_ops, &tei_reranker_ops,
							 NULL };
const struct generator_ops *const generator_registry[] = { &extractive_generator_ops,
							   &gemini_generator_ops,
							   &openai_generator_ops, NULL };

bool
embedder_open(const struct config *config, struct embedder **out, struct err *err)
{
	struct embedder_choice choice;

	if (!choose_embedder(config, &choice, err))
		return false;
	for (const struct embedder_ops *const *row = embedder_registry; *row; row++)
		if (strcmp((*row)->name, choice.at.provider) == 0)
			return (*row)->open(config, out, err);
	return err_set(err, ERR_CONFIG, "embedder '%s' is not part of this build",
		       choice.at.provider);
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
	struct reranker_choice choice;

	*out = NULL;
	if (!choose_reranker(config, &choice, err))
		return false;
	if (choice.kind == RERANKER_NONE)
		return true;
	for (const struct reranker_ops *const *row = reranker_registry; *row; row++)
		if (strcmp((*row)->name, choice.at.provider) == 0)
			return (*row)->open(config, out, err);
	return err_set(err, ERR_CONFIG, "reranker '%s' is not part of this build",
		       choice.at.provider);
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
	struct generator_choice choice;

	if (!choose_generator(config, &choice, err))
		return false;
	for (const struct generator_ops *const *row = generator_registry; *row; row++)
		if (strcmp((*row)->name, choice.at.provider) == 0)
			return (*row)->open(config, out, err);
	return err_set(err, ERR_CONFIG, "generator '%s' is not part of this build",
		       choice.at.provider);
}

void
generator_close(struct generator *generator)
{
	if (generator)
		generator->ops->close(generator);
}
