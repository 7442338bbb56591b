#!/usr/bin/env bash
# analyzer.sh ROOT: gcc -fanalyzer finds nothing in common/, but what tests/check/analyzer.allow lists with reasons. A minute or two.
source "$(dirname "$0")/lib.sh"

gcc=$(tool gcc) || skip "gcc is not installed"
allow=$(dirname "$(realpath "$0")")/analyzer.allow

flags=(-fanalyzer -O1 -DRAG_ANALYZER -std=gnu17 -D_GNU_SOURCE '-DRAG_VERSION="x"' "-I$root" -fdiagnostics-plain-output -c -o /dev/null)
[ ! -f common/base/banned.h ] || flags+=(-include "$root/common/base/banned.h")

# allowed PATH FUNCTION WARNING: is there a line for it?
allowed() {
	local path function warning
	while read -r path function warning _; do
		[ "$path $function $warning" = "$1 $2 $3" ] && return 0
	done < <(grep -v '^#' "$allow")
	return 1
}

mapfile -t sources < <(files common '*.c')
looked_at=${#sources[@]}
# "path: In function 'name':" stands before the warnings of a function
[ "$looked_at" -eq 0 ] || while read -r line; do
	if [[ $line =~ In\ function\ .([A-Za-z0-9_]+) ]]; then
		function=${BASH_REMATCH[1]}
	elif [[ $line =~ ^([^:]+):[0-9]+:[0-9]+:\ warning:.*\[(-Wanalyzer[a-z-]+)\] ]]; then
		allowed "${BASH_REMATCH[1]}" "${function:-}" "${BASH_REMATCH[2]}" || offence "$line"
	elif [[ $line == *error:* ]]; then
		offence "$line"
	fi
done < <(printf '%s\0' "${sources[@]}" | xargs -0 -P "$(nproc)" -I{} sh -c 'message=$("$@" 2>&1); echo "$message"' sh "$gcc" "${flags[@]}" {})
finish
