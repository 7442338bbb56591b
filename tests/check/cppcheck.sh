#!/usr/bin/env bash
# cppcheck.sh ROOT: cppcheck finds nothing in any source, but what tests/check/cppcheck.suppress lists with reasons.
source "$(dirname "$0")/lib.sh"

command -v cppcheck >/dev/null || skip "cppcheck is not installed"
suppress=$(dirname "$(realpath "$0")")/cppcheck.suppress

mapfile -t sources < <(files "$all_dirs" '*.c')
looked_at=${#sources[@]}
[ "$looked_at" -eq 0 ] || while read -r line; do
	offence "$line"
done < <(cppcheck -q -j "$(nproc)" --std=c11 --language=c --library=gnu,posix --enable=warning,performance,portability \
	-D_GNU_SOURCE -D__linux__ -D__x86_64__ '-DRAG_VERSION="x"' -I. --suppressions-list="$suppress" \
	--template='{file}:{line}: {severity}: {message} [{id}]' "${sources[@]}" 2>&1 | sort -u)
finish
