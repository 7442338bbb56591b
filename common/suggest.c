#include "common/suggest.h"

#include <stdint.h>

static size_t
min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Optimal string alignment: the usual table, of which the last three rows are kept. */
size_t
suggest_distance(struct str a, struct str b)
{
	size_t rows[3][SUGGEST_MAX_BYTES + 1] = { { 0 } };

	if (a.len > SUGGEST_MAX_BYTES || b.len > SUGGEST_MAX_BYTES)
		return SIZE_MAX;
	for (size_t j = 0; j <= b.len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t cost = a.ptr[i - 1] != b.ptr[j - 1];

			row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + cost);
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] &&
			    a.ptr[i - 2] == b.ptr[j - 1] && above2[j - 2] + 1 < row[j])
				row[j] = above2[j - 2] + 1;
		}
	}
	return rows[a.len % 3][b.len];
}

struct suggest
suggest_start(struct str word)
{
	return (struct suggest){ .word = word, .nearest = NULL, .distance = SIZE_MAX };
}

void
suggest_offer(struct suggest *suggest, const char *name)
{
	struct str known = str_of(name);
	size_t distance = suggest_distance(suggest->word, known);

	if (distance < suggest->distance && distance <= (known.len + 2) / 3) {
		suggest->distance = distance;
		suggest->nearest = name;
	}
}
