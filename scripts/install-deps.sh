#!/usr/bin/env bash
# install-deps.sh [run|test|fuzz]: installs the Debian packages that are missing (Debian 12 and 13), and nothing when none is.
#   run   to build and to run (the default)
#   test  also to test: cmocka, clang, and the tools of tests/check
#   fuzz  also for scripts/fuzz.sh: the sanitizers and libFuzzer of clang
# Needs root or sudo only when something is missing.
set -euo pipefail

mode=${1:-run}
case $mode in
run | test | fuzz) ;;
*)
	echo "usage: $0 [run|test|fuzz]" >&2
	exit 2
	;;
esac

# "a|b": the first that this release has
run_packages="cmake ninja-build gcc libc6-dev pkg-config ca-certificates
	libhiredis-dev libcurl4-openssl-dev libmsgpack-dev|libmsgpack-c-dev libcivetweb-dev libyaml-dev libjansson-dev
	libsqlite3-dev libssl-dev libxml2-dev libzstd-dev zlib1g-dev poppler-utils redis-server redis-tools"
test_packages="libcmocka-dev clang clang-format-14|clang-format clang-tidy cppcheck shellcheck universal-ctags python3 python3-venv procps"
fuzz_packages="libclang-rt-dev|libclang-rt-19-dev"

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# What is installed of "a|b" counts, whichever it is; a package may also be provided under another name (pkg-config by pkgconf).
is_satisfied() {
	local name
	for name in ${1//|/ }; do
		is_installed "$name" && return 0
	done
	case $1 in
	pkg-config) is_installed pkgconf ;;
	clang | clang-tidy) compgen -c "$1-" | grep -qE "^$1-[0-9]+\$" ;;
	libclang-rt-*) dpkg-query -W -f '${db:Status-Status}\n' 'libclang-rt-*-dev' 2>/dev/null | grep -qx installed ;;
	*) return 1 ;;
	esac
}

# Names apt can install: libmsgpack-dev is only a name of the past in Debian 13.
candidate() {
	local name
	for name in ${1//|/ }; do
		# (not grep -q: under pipefail its early end would count as a failure of apt-cache)
		if [[ $(apt-cache policy "$name" 2>/dev/null) =~ Candidate:\ [0-9] ]]; then
			echo "$name"
			return 0
		fi
	done
	echo "no package for '$1' in this release's archive" >&2
	return 1
}

packages=$run_packages
[ "$mode" = run ] || packages+=" $test_packages"
[ "$mode" != fuzz ] || packages+=" $fuzz_packages"
missing=()
for package in $packages; do
	is_satisfied "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || {
	echo "missing: ${missing[*]}; this script knows Debian's apt-get only" >&2
	exit 1
}
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || {
		echo "missing: ${missing[*]}; run $0 $mode as root once" >&2
		exit 1
	}
	as_root=(sudo)
fi

apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@"
}

echo "installing what is missing: ${missing[*]}"
apt update
names=()
for package in "${missing[@]}"; do
	names+=("$(candidate "$package")")
done
apt install -y --no-install-recommends "${names[@]}"
