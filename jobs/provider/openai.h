/*
 * openai: embedder and generator on OpenAI or on a server that speaks like it; rows of registry.c. Private.
 *
 * What a server or model refuses is left out from then on, by the instance: `dimensions`, `encoding_format`, `temperature`,
 * `stream_options`; `max_tokens` becomes `max_completion_tokens`, or the other way round.
 */
#ifndef RAG_JOBS_PROVIDER_OPENAI_H
#define RAG_JOBS_PROVIDER_OPENAI_H

#include "jobs/provider/provider.h"

extern const struct embedder_ops openai_embedder_ops;
extern const struct generator_ops openai_generator_ops;

#endif
