#include "cli/reasons.h"

#include <string.h>

#include "cli/text.h"
#include "common/base/auto.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

void
reasons_add(struct reasons *reasons, const char *text, const char *example)
{
	reasons->total++;
	for (size_t i = 0; i < reasons->count; i++) {
		if (strcmp(reasons->rows[i].text, text) == 0) {
			reasons->rows[i].count++;
			return;
		}
	}
	if (reasons->count == REASONS_MAX)
		return;
	reasons->rows[reasons->count++] = (struct reason){ .text = mem_strdup(text),
							   .example = mem_strdup(example),
							   .count = 1 };
}

void
reasons_release(struct reasons *reasons)
{
	for (size_t i = 0; i < reasons->count; i++) {
		mem_free(reasons->rows[i].text);
		mem_free(reasons->rows[i].example);
	}
	*reasons = (struct reasons){ .count = 0 };
}

/* Both texts may come from a server. */
static void
print_reason(FILE *out, const char *what, const struct reason *row)
{
	AUTO(buf) struct buf line = BUF_INIT(65536);

	text_add_line(&line, str_of(row->text));
	buf_printf(&line, ": %lld (%s", (long long)row->count, row->count > 1 ? "first: " : "");
	text_add_line(&line, str_of(row->example));
	(void)fprintf(out, "  %s: %s)\n", what, line.data);
}

void
reasons_print(FILE *out, const char *what, const struct reasons *reasons)
{
	int64_t shown = 0;

	for (size_t i = 0; i < reasons->count; i++) {
		print_reason(out, what, &reasons->rows[i]);
		shown += reasons->rows[i].count;
	}
	if (shown < reasons->total)
		(void)fprintf(out, "  %s: for other reasons: %lld\n", what,
			      (long long)(reasons->total - shown));
}

void
reasons_write(struct jw *w, const char *key, const struct reasons *reasons)
{
	jw_karr(w, key);
	for (size_t i = 0; i < reasons->count; i++) {
		jw_obj(w);
		jw_kcstr(w, "reason", reasons->rows[i].text);
		jw_kint(w, "count", reasons->rows[i].count);
		jw_kcstr(w, "example", reasons->rows[i].example);
		jw_end(w);
	}
	jw_end(w);
}
