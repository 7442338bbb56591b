# shellcheck shell=bash disable=SC2034 # the variables are for the checks
# Sourced by every check: `root` is its only argument, offences are printed as "path:line: reason", and the last line of a check
# is `finish`. The folders below are all places where sources of ours live.
set -uo pipefail
export LC_ALL=C

[ $# -eq 1 ] && [ -d "$1" ] || { echo "usage: $0 <root of the sources>" >&2; exit 2; }
root=$(cd "$1" && pwd)
cd "$root" || exit 2

skip_code=77 # ctest's SKIP_RETURN_CODE
product_dirs="api worker common jobs cron cli"
all_dirs="$product_dirs tests bench"
offences=0

# files <folders> <pattern>...: paths relative to the root, sorted
files() {
	local dirs=() dir args=()
	for dir in $1; do [ -d "$dir" ] && dirs+=("$dir"); done
	shift
	[ ${#dirs[@]} -gt 0 ] || return 0
	for pattern in "$@"; do args+=(-o -name "$pattern"); done
	find "${dirs[@]}" -type f \( "${args[@]:1}" \) | sort
}

# tool NAME: the command, or the newest of its versions (clang-tidy-19)
tool() {
	local found
	found=$(command -v "$1" || compgen -c "$1-" | grep -E "^$1-[0-9]+\$" | sort -t- -k3 -n | tail -1) && [ -n "$found" ] && echo "$found"
}

offence() {
	echo "$1"
	offences=$((offences + 1))
}

skip() {
	echo "skipped: $1"
	exit $skip_code
}

# A check that looked at nothing has shown nothing.
finish() {
	[ "${looked_at:-0}" -gt 0 ] || { echo "no file to look at under $root"; exit 1; }
	[ $offences -eq 0 ] || { echo "$offences found"; exit 1; }
	echo "$looked_at looked at, none found"
}
