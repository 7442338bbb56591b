/*
 * tenant: whose collections and jobs something is. A tenant is a name of 1 to 32 bytes like a collection's: a-z, 0-9,
 * '-' and '_', beginning with a letter or digit. TENANT_DEFAULT is the operators' own: everything belongs to it when the
 * engine has no keys, and what was made before there were tenants. Pure and thread-safe.
 */
#ifndef RAG_COMMON_TENANT_H
#define RAG_COMMON_TENANT_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define TENANT_MAX 32
#define TENANT_BYTES (TENANT_MAX + 1)
#define TENANT_DEFAULT "default"

bool tenant_valid(struct str name, struct err *err); /* ERR_INVALID, says the rule */

/* "" and TENANT_DEFAULT are the same: what is not marked is the operators'. */
bool tenant_is_default(struct str name);

#endif
