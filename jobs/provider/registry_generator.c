#include <stddef.h>

#include "jobs/provider/local.h"

const struct generator_ops *const generator_registry[] = { &extractive_generator_ops, NULL };

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
