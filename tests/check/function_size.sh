#!/usr/bin/env bash
# function_size.sh ROOT: no function is longer than 80 lines, from its name to its closing brace.
source "$(dirname "$0")/lib.sh"

max_lines=80
command -v ctags >/dev/null && [[ $(ctags --version) == *Universal* ]] || skip "universal ctags is not installed"

mapfile -t sources < <(files "$all_dirs" '*.c' '*.h')
looked_at=${#sources[@]}
if [ "$looked_at" -gt 0 ]; then
	while read -r path start end name; do
		size=$((end - start + 1))
		[ $size -le $max_lines ] || offence "$path:$start: $name has $size lines, more than $max_lines"
	done < <(ctags --languages=C --langmap=C:.c.h --kinds-C=f -x --_xformat='%F %n %{end} %N' "${sources[@]}")
fi
finish
