/* fuzz_filter: any bytes as a metadata filter. What is accepted is a tree within its limits. */
#include "jobs/spec/filter.h"
#include "tests/fuzz/fuzz.h"

static size_t
check_tree(const struct filter *filter, unsigned depth)
{
	size_t nodes = 1;

	must(depth <= FILTER_MAX_DEPTH + 1, "a filter is not deeper than allowed");
	switch (filter->op) {
	case FILTER_AND:
	case FILTER_OR:
	case FILTER_NOT:
		must(filter->op != FILTER_NOT || filter->count == 1, "$not has one condition");
		for (size_t i = 0; i < filter->count; i++)
			nodes += check_tree(&filter->children[i], depth + 1);
		break;
	case FILTER_EQ:
	case FILTER_NE:
	case FILTER_GT:
	case FILTER_GTE:
	case FILTER_LT:
	case FILTER_LTE:
	case FILTER_IN:
	case FILTER_NIN:
		must(filter->op == FILTER_IN || filter->op == FILTER_NIN || filter->count == 1,
		     "a comparison has one value");
		must(str_utf8_valid(filter->field, NULL), "a field is UTF-8");
		for (size_t i = 0; i < filter->count; i++)
			must(str_utf8_valid(filter->values[i].string, NULL), "a value is UTF-8");
		nodes += filter->count;
		break;
	default:
		must(false, "an operator is one of the list");
	}
	return nodes;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(arena) struct arena arena;
	struct filter *filter = NULL;
	struct err err = ERR_INIT;

	arena_init(&arena, 4 * MIB);
	if (!filter_parse(str_make((const char *)data, size), &arena, &filter, &err)) {
		must(err.code == ERR_INVALID || err.code == ERR_MALFORMED ||
			     err.code == ERR_TOO_LARGE,
		     "refused with a reason");
		must(str_utf8_valid(str_of(err.pointer), NULL), "the place is a text");
	} else if (filter) {
		must(check_tree(filter, 0) <= (size_t)2 * FILTER_MAX_NODES,
		     "a filter has no more nodes");
	}
	return 0;
}
