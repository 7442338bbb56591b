/*
 * rag-bench-floats [VECTORS [DIM]]: how fast vectors are read out of a reply.
 *
 * Makes the body of an /embeddings reply of VECTORS vectors of DIM numbers (default 100 x 1,536), the numbers as servers print them: nine
 * significant digits (float32) or seventeen (doubles), and as base64. Reads each with the engine's scanner and with the general parser
 * (jansson), one thread, and prints megabytes a second of body and microseconds a vector. Both must come to the same floats.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/json.h"
#include "jobs/provider/openai_wire.h"
#include "jobs/provider/reply.h"

#define MEASURE_US 1500000
#define MAX_BODY ((size_t)1 << 30)

struct shape {
	size_t vectors, dim;
};

static _Noreturn void
give_up(const char *what, const struct err *err)
{
	(void)fprintf(stderr, "rag-bench-floats: %s: %s %s\n", what, err->msg, err->cause);
	exit(1);
}

static float
draw(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return ((float)(*seed >> 40) / 0x1p23F - 1) / 16;
}

static void
add_base64(struct buf *out, const float *values, size_t count)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *bytes = (const unsigned char *)values;
	size_t len = count * sizeof(float);

	for (size_t i = 0; i < len; i += 3) {
		uint32_t three = (uint32_t)bytes[i] << 16;

		three |= i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0;
		three |= i + 2 < len ? bytes[i + 2] : 0;
		buf_add_char(out, digits[three >> 18]);
		buf_add_char(out, digits[three >> 12 & 63]);
		buf_add_char(out, (char)(i + 1 < len ? digits[three >> 6 & 63] : '='));
		buf_add_char(out, (char)(i + 2 < len ? digits[three & 63] : '='));
	}
}

/* digits 0 = base64 */
static void
build(const struct shape *shape, int digits, struct buf *out)
{
	float *vector = mem_array(shape->dim, sizeof(float));
	uint64_t seed = 7;

	buf_add_str(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < shape->vectors; i++) {
		buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":",
			   i > 0 ? "," : "", i);
		for (size_t k = 0; k < shape->dim; k++)
			vector[k] = draw(&seed);
		if (digits == 0) {
			buf_add_char(out, '"');
			add_base64(out, vector, shape->dim);
			buf_add_char(out, '"');
		}
		for (size_t k = 0; digits > 0 && k < shape->dim; k++)
			buf_printf(out, "%c%.*g", k > 0 ? ',' : '[', digits,
				   (double)vector[k] * (digits > 9 ? 1.0000000001 : 1));
		buf_add_str(out, digits > 0 ? "]}" : "}");
	}
	buf_add_str(out, "],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}");
	mem_free(vector);
	if (!buf_ok(out)) {
		(void)fputs("rag-bench-floats: that is too much\n", stderr);
		exit(2);
	}
}

static void
read_ours(struct str body, const struct shape *shape, float *out)
{
	AUTO(reply) struct reply reply = { 0 };
	struct remote_used used = { -1, -1, -1 };
	struct err err = ERR_INIT;

	if (!reply_read(body, &reply, &err) ||
	    !openai_parse_embed(&reply, shape->vectors, shape->dim, out, &used, &err))
		give_up("ours", &err);
}

static void
read_tree(struct str body, const struct shape *shape, float *out)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	struct err err = ERR_INIT;

	if (!js_parse(body, &root, &err))
		give_up("jansson", &err);
	for (size_t i = 0; i < shape->vectors; i++) {
		const struct js *vector = js_get(js_at(js_get(root, "data"), i), "embedding");

		for (size_t k = 0; k < shape->dim; k++)
			out[i * shape->dim + k] = (float)js_number(js_at(vector, k));
	}
}

static void
measure(const char *name, void (*read)(struct str, const struct shape *, float *), struct str body,
	const struct shape *shape, float *out)
{
	int64_t from_us = clock_mono_us(), spent_us = 0;
	int runs = 0;

	while (spent_us < MEASURE_US) {
		read(body, shape, out);
		runs++;
		spent_us = clock_mono_us() - from_us;
	}
	(void)printf("%-28s %8.0f MB/s %9.1f us/vector\n", name,
		     (double)body.len * runs / (double)spent_us,
		     (double)spent_us / runs / (double)shape->vectors);
}

static size_t
number_of(const char *text, size_t max)
{
	int64_t value = 0;

	if (!str_to_i64(str_of(text), 1, (int64_t)max, &value)) {
		(void)fputs("usage: rag-bench-floats [VECTORS [DIM]]\n", stderr);
		exit(2);
	}
	return (size_t)value;
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *ours, *tree;
		int digits;
	} forms[] = { { "9 digits, scanner", "9 digits, jansson", 9 },
		      { "17 digits, scanner", "17 digits, jansson", 17 },
		      { "base64", NULL, 0 } };
	const struct shape shape = { .vectors = argc > 1 ? number_of(argv[1], 2048) : 100,
				     .dim = argc > 2 ? number_of(argv[2], 8192) : 1536 };
	float *out = mem_array(shape.vectors * shape.dim, sizeof(float));

	(void)printf("%zu vectors of %zu numbers\n", shape.vectors, shape.dim);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		AUTO(buf) struct buf body = BUF_INIT(MAX_BODY);

		build(&shape, forms[i].digits, &body);
		measure(forms[i].ours, read_ours, str_make(body.data, body.len), &shape, out);
		if (forms[i].tree)
			measure(forms[i].tree, read_tree, str_make(body.data, body.len), &shape,
				out);
	}
	mem_free(out);
	return 0;
}
