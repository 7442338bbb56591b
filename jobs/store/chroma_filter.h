/*
 * chroma_filter: metadata filters in Chroma's terms. Pure, private to the chroma store.
 *
 * Chroma's metadata are flat, have no null, know no lists on servers before 1.3, and index strings and numbers but not booleans (measured: a
 * condition on a boolean looks at every row). So a document's metadata become, beside the original text of it:
 *
 *	m.<field>	    a string, or a number (always with a fraction: Chroma keeps integers and others apart)
 *	b.<field>	    a boolean, as 0 or 1
 *	z.<field>	    1: null
 *	i.<field>=<t>:<v>   1, for each item of a list; t: s, n, b or z
 *	lo.<field>, hi.<field>	the least and the greatest number of a list
 *	o		    1: there was more than CHROMA_MAX_FIELDS, or an item too long: not all of it is in the fields
 *
 * A clause never leaves out what the filter lets pass; it may let pass more (text compared by order, NOT over an order, `o`): the caller
 * decides each hit by filter_matches. Everything else is exact in the search itself.
 */
#ifndef RAG_JOBS_STORE_CHROMA_FILTER_H
#define RAG_JOBS_STORE_CHROMA_FILTER_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "jobs/spec/filter.h"

#define CHROMA_MAX_FIELDS 256	  /* of one document */
#define CHROMA_ITEM_MAX_BYTES 128 /* of a list's item; and of a key in all, ten times this */

/* Appends `,"m.lang":"en"...` for a metadata object ("" = none). ERR_INVALID when it is none. */
bool chroma_filter_fields(struct str metadata, struct buf *out, struct err *err);

enum chroma_where {
	CHROMA_WHERE_ALL,   /* no clause: every record may pass */
	CHROMA_WHERE_NONE,  /* no record can pass */
	CHROMA_WHERE_CLAUSE /* out has it */
};
enum chroma_where chroma_filter_where(const struct filter *filter, struct buf *out);

#endif
