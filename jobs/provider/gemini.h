/*
 * gemini: embedder and generator on Google's Generative Language API; rows of registry.c. Private.
 *
 * What a model refuses is left out from then on, by the instance: taskType; temperature, thinkingConfig. A server without
 * batchEmbedContents is asked for one vector at a time.
 */
#ifndef RAG_JOBS_PROVIDER_GEMINI_H
#define RAG_JOBS_PROVIDER_GEMINI_H

#include "jobs/provider/provider.h"

extern const struct embedder_ops gemini_embedder_ops;
extern const struct generator_ops gemini_generator_ops;

#endif
