/*
 * package: what the office formats share: how the parts of an archive name each other, and the document's properties.
 */
#ifndef RAG_JOBS_CONVERT_PACKAGE_H
#define RAG_JOBS_CONVERT_PACKAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "jobs/convert/xml.h"

#define PACKAGE_RELATIONS_MAX 20000

struct relation {
	struct str id;
	struct str type;   /* the last part of its URI: "slide", "sharedStrings" */
	struct str target; /* name of the part in the archive */
};

struct relations {
	struct relation *items; /* arena */
	size_t count, cap;
};

/* Those of a part; "" = of the package. No such list is an empty one. External ones are left out. */
bool package_relations(struct zip_archive *archive, struct str part, struct arena *arena,
		       struct relations *out, struct err *err);
const struct relation *relation_by_id(const struct relations *relations, struct str id);
const struct relation *relation_by_type(const struct relations *relations, const char *type);

/* "../media/a.xml" as said in the part "ppt/slides/s.xml" is "ppt/media/a.xml". NULL ptr: arena full. */
struct str package_path(struct arena *arena, struct str from_part, struct str target);

/* The first element <title> of docProps/core.xml, meta.xml or the like; "" when there is none or it cannot be read. */
struct str package_title(struct zip_archive *archive, struct str part, struct arena *arena);

#endif
