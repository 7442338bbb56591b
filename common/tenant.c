#include "common/tenant.h"

static bool
is_tenant_char(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return true;
	return !first && (c == '_' || c == '-');
}

bool
tenant_valid(struct str name, struct err *err)
{
	bool ok = name.len >= 1 && name.len <= TENANT_MAX;

	for (size_t i = 0; ok && i < name.len; i++)
		ok = is_tenant_char(name.ptr[i], i == 0);
	if (ok)
		return true;
	return err_set(err, ERR_INVALID,
		       "a tenant's name has 1 to %d characters of a-z, 0-9, '_' and '-', and "
		       "begins with a "
		       "letter or digit",
		       TENANT_MAX);
}

bool
tenant_is_default(struct str name)
{
	return name.len == 0 || str_eq_c(name, TENANT_DEFAULT);
}
