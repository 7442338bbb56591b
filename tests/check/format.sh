#!/usr/bin/env bash
# format.sh ROOT: every source is as clang-format 14 leaves it. Other versions disagree in details, so only 14 decides.
source "$(dirname "$0")/lib.sh"

tool=
for name in clang-format-14 clang-format; do
	command -v "$name" >/dev/null && [[ $("$name" --version) == *"version 14."* ]] && { tool=$name; break; }
done
[ -n "$tool" ] || skip "clang-format 14 is not installed"

mapfile -t sources < <(files "$all_dirs" '*.c' '*.h')
looked_at=${#sources[@]}
if [ "$looked_at" -gt 0 ]; then
	while read -r line; do
		offence "$line"
	done < <("$tool" --style=file --dry-run -Werror "${sources[@]}" 2>&1 | grep -E ': error: ' | cut -d: -f1,2 | uniq)
fi
finish
