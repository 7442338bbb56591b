#!/usr/bin/env bash
# headers.sh ROOT: every header compiles on its own, twice in a row, without warnings; so an include list never depends on what
# came before it.
source "$(dirname "$0")/lib.sh"

flags=(-std=gnu17 -D_GNU_SOURCE '-DRAG_VERSION="x"' "-I$root" -Wall -Wextra -Wpedantic -Wundef -Wstrict-prototypes -Werror
	-fsyntax-only -x c)
mapfile -t headers < <(files "$all_dirs" '*.h')
looked_at=${#headers[@]}
for header in "${headers[@]}"; do
	# the last line: a header of macros alone would leave an empty unit, which ISO C forbids
	message=$(printf '#include "%s"\n#include "%s"\nextern int unit;\n' "$header" "$header" |
		"${CC:-cc}" "${flags[@]}" - 2>&1) ||
		offence "$header: does not compile alone: $(grep -m1 error <<<"$message")"
done
finish
