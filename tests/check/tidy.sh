#!/usr/bin/env bash
# tidy.sh ROOT: clang-tidy finds nothing in any source; the rules are .clang-tidy of each folder. Needs no build: the flags that
# matter are the same everywhere. Some minutes; ONLY=PATTERN looks at the files whose path matches it.
source "$(dirname "$0")/lib.sh"

tidy=$(tool clang-tidy) || skip "clang-tidy is not installed"

flags=(-std=gnu17 -D_GNU_SOURCE '-DRAG_VERSION="x"' '-DRAG_SOURCE_DIR="x"' '-DRAG_BIN_DIR="x"' '-DRAG_PYTHON="x"' '-DRAG_CHROMA="x"' "-I$root" -isystem /usr/include/libxml2)
[ ! -f common/base/banned.h ] || flags+=(-include "$root/common/base/banned.h")
mapfile -t sources < <(files "$all_dirs" '*.c' | grep -E "${ONLY:-}")
looked_at=${#sources[@]}
[ "$looked_at" -eq 0 ] || while read -r line; do
	offence "$line"
done < <(printf '%s\0' "${sources[@]}" |
	xargs -0 -P "$(nproc)" -I{} "$tidy" --quiet {} -- "${flags[@]}" 2>/dev/null |
	grep -E '^[^ ]+:[0-9]+:[0-9]+: (error|warning):' | sed "s#^$root/##" | sort -u)
finish
