#!/usr/bin/env bash
# traps.sh ROOT: every test that docs/testing.md names beside a trap exists: of each row of that table's second column, the first word
# of a group is a file tests/*/<word>.c, the words after it are tests that this file runs ("`test_x`: `a`, `b`; `test_y`: `c`"). A file
# <word>.py stands for itself; what follows it are strings in it.
source "$(dirname "$0")/lib.sh"

document=docs/testing.md
heading="## Traps of other people's servers"
looked_at=0

runs() { # runs <file> <test>
	case $1 in
	*.py) grep -qF "\"$2\"" "$1" ;;
	*) grep -qE "(TEST|TEST_[A-Z]+|cmocka_unit_test[a-z_]*)\($2\b" "$1" ;;
	esac
}

check_group() { # check_group <line> <text of a group>
	local words=() word file
	mapfile -t words < <(grep -oE '`[^`]+`' <<<"$2" | tr -d '`')
	if [ ${#words[@]} -lt 2 ]; then
		offence "$document:$1: names no test: $2"
		return
	fi
	file=$(find tests -name "${words[0]%.py}.c" -o -name "${words[0]%.py}.py" | head -1)
	if [ -z "$file" ]; then
		offence "$document:$1: there is no ${words[0]}"
		return
	fi
	for word in "${words[@]:1}"; do
		looked_at=$((looked_at + 1))
		runs "$file" "$word" || offence "$document:$1: $file runs no $word"
	done
}

check_row() { # check_row <line> <cell of tests>
	local groups=() group
	IFS=';' read -ra groups <<<"$2"
	[ ${#groups[@]} -gt 0 ] || offence "$document:$1: names no test"
	for group in "${groups[@]}"; do check_group "$1" "$group"; done
}

[ -f "$document" ] && while IFS=$'\t' read -r number cell; do
	check_row "$number" "$cell"
done < <(awk -F'|' -v heading="$heading" '
	/^## / { inside = $0 == heading }
	inside && /^\|/ && NF >= 4 && $3 !~ /^ *(-+|test) *$/ && $2 !~ /^-+$/ { print NR "\t" $3 }' "$document")
finish
