#include "jobs/spec/history.h"

#include "common/fields.h"

static const char *const role_names[] = { "user", "assistant", NULL };

struct turn {
	int role; /* enum history_role */
	struct str content;
};

static const struct field turn_rows[] = {
	FIELD(struct turn, role, FIELD_ENUM, .required = true, .names = role_names,
	      .doc = "who said it"),
	FIELD(struct turn, content, FIELD_STR, .required = true, .min = 1, .max = HISTORY_MAX_CHARS,
	      .doc = "what was said"),
};
static const struct fields turn_fields = FIELDS("turn of the history", turn_rows);

/* The pointer that a turn's table has set is below the turn. */
static bool
fail_in(size_t index, struct err *err)
{
	char below[ERR_POINTER_MAX_BYTES];

	(void)str_copy(below, sizeof(below), str_of(err->pointer));
	err_wrap(err, "history, turn %zu", index + 1);
	return err_at(err, "/history/%zu%s", index, below);
}

static bool
read_turn(const struct js *value, struct arena *arena, struct history_turn *out, struct err *err)
{
	struct turn turn = { .role = HISTORY_USER };

	if (!fields_from_json(&turn_fields, value, &turn, arena, err))
		return false;
	if (str_trim(turn.content).len == 0) {
		err_set(err, ERR_INVALID, "'content' must not be blank");
		return err_at(err, "/content");
	}
	*out = (struct history_turn){ .role = (enum history_role)turn.role,
				      .content = turn.content };
	return true;
}

bool
history_parse(struct str json, struct arena *arena, struct history *out, struct err *err)
{
	AUTO_PTR(js_free) struct js *root = NULL;
	void *turns = NULL;
	size_t count;

	*out = (struct history){ .count = 0 };
	if (json.len == 0)
		return true;
	if (!js_parse(json, &root, err))
		return err_wrap(err, "history");
	if (!js_is(root, JS_ARRAY)) {
		err_set(err, ERR_INVALID, "'history' must be an array");
		return err_at(err, "/history");
	}
	count = js_len(root);
	if (count > HISTORY_MAX_TURNS) {
		err_set(err, ERR_INVALID, "'history' must have at most %d turns, not %zu",
			HISTORY_MAX_TURNS, count);
		return err_at(err, "/history");
	}
	if (!arena_alloc_err(arena, (count + 1) * sizeof(struct history_turn), "the history",
			     &turns, err))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!read_turn(js_at(root, i), arena, (struct history_turn *)turns + i, err))
			return fail_in(i, err);
	*out = (struct history){ .turns = turns, .count = count };
	return true;
}
