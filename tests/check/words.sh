#!/usr/bin/env bash
# words.sh ROOT: no mark of unfinished work in anything we ship. What is open goes to the issue tracker.
source "$(dirname "$0")/lib.sh"

mapfile -t sources < <(files "$all_dirs scripts k8s cmake docs" '*.c' '*.h' '*.def' '*.lua' '*.sh' '*.py' '*.cmake' '*.txt' '*.yaml' '*.md' |
	grep -v '^tests/check/')
looked_at=${#sources[@]}
if [ "$looked_at" -gt 0 ]; then
	while read -r line; do
		offence "$line"
	done < <(grep -nHwE 'TODO|FIXME|XXX|TBD|HACK' "${sources[@]}" | cut -c1-160)
fi
finish
