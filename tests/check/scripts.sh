#!/usr/bin/env bash
# scripts.sh ROOT: shellcheck finds nothing in our shell scripts, and our Python files compile.
source "$(dirname "$0")/lib.sh"

command -v shellcheck >/dev/null || skip "shellcheck is not installed"
command -v python3 >/dev/null || skip "python3 is not installed"

mapfile -t shells < <(files "scripts tests bench" '*.sh'; [ ! -f .ci/run ] || echo .ci/run)
mapfile -t pythons < <(files "scripts tests bench" '*.py')
looked_at=$((${#shells[@]} + ${#pythons[@]}))
[ ${#shells[@]} -eq 0 ] || while read -r line; do
	offence "$line"
done < <(shellcheck -x -P SCRIPTDIR -S warning -f gcc "${shells[@]}")
for python in "${pythons[@]}"; do
	message=$(python3 -c 'import sys; compile(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1], "exec")' "$python" 2>&1) ||
		offence "$python: does not compile: ${message##*$'\n'}"
done
finish
