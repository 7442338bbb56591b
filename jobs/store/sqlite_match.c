#include "common/base/buf.h"
#include "common/words.h"
#include "jobs/store/sqlite_store.h"

#define MATCH_MAX_WORDS 256 /* different ones; a question has far fewer */

struct seen {
	uint64_t hashes[MATCH_MAX_WORDS];
	size_t count;
};

/* true the first time */
static bool
note_word(struct seen *seen, struct str word)
{
	uint64_t hash = str_hash64(word, 0);

	for (size_t i = 0; i < seen->count; i++) {
		if (seen->hashes[i] == hash)
			return false;
	}
	if (seen->count == MATCH_MAX_WORDS)
		return false;
	seen->hashes[seen->count++] = hash;
	return true;
}

/* A word holds letters, digits and apostrophes only, so inside double quotes it cannot end the string or
 * be taken for an operator. */
static bool
add_words(struct str text, bool with_stop_words, struct buf *out)
{
	struct seen seen = { .count = 0 };
	struct str word = STR("");
	char folded[WORDS_MAX_BYTES];

	for (size_t at = 0; words_next(text, &at, &word);) {
		struct str key = str_make(folded, words_fold(word, folded));

		if ((!with_stop_words && words_is_stop(key)) || !note_word(&seen, key))
			continue;
		if (seen.count > 1)
			buf_add_str(out, " OR ");
		buf_add_char(out, '"');
		buf_add(out, word.ptr, word.len);
		buf_add_char(out, '"');
	}
	return seen.count > 0;
}

bool
sqlite_match_any(struct str text, struct buf *out)
{
	return add_words(text, false, out) || add_words(text, true, out);
}
