#include "common/tokens.h"

#define QUARTERS 4	     /* of a token: the unit that is counted in */
#define FIRST_OF_CJK 0x2e80u /* what is below are alphabets */

static int64_t
quarters_of(uint32_t cp)
{
	bool letter = (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z');

	if (letter || cp == ' ')
		return 1;
	return cp < FIRST_OF_CJK ? 2 : QUARTERS;
}

int64_t
tokens_estimate(struct str text)
{
	int64_t quarters = 0;

	for (size_t at = 0; at < text.len;) {
		uint32_t cp = 0;

		at += str_utf8_next(text, at, &cp);
		quarters += quarters_of(cp);
	}
	return (quarters + QUARTERS - 1) / QUARTERS;
}
