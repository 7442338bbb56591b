#!/usr/bin/env bash
# check-debian13.sh CHROOT: builds and tests the committed tree (HEAD) inside a Debian 13 root, with gcc and clang, warnings being
# errors. Needs root, and once:  debootstrap --variant=minbase trixie CHROOT
# (Any Debian root works: the name says what it is for.) Processes and mounts of the run end with it.
set -euo pipefail

[ $# -eq 1 ] && [ -x "$1/usr/bin/apt-get" ] || {
	echo "usage: $0 CHROOT   (a folder that debootstrap has filled)" >&2
	exit 2
}
chroot=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

rm -rf "$chroot/src"
mkdir "$chroot/src"
git archive HEAD | tar -x -C "$chroot/src"
cp /etc/resolv.conf "$chroot/etc/resolv.conf"
# packages must not start their services
printf '#!/bin/sh\nexit 101\n' >"$chroot/usr/sbin/policy-rc.d"
chmod +x "$chroot/usr/sbin/policy-rc.d"

# shellcheck disable=SC2016 # expanded inside
unshare --mount --pid --fork --kill-child bash -euc '
	mount -t proc proc "$1/proc"
	mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
	exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash -euc "
		cd /src
		. /etc/os-release
		echo \"== \$PRETTY_NAME\"
		scripts/install-deps.sh test
		for preset in ci-release clang asan; do
			echo \"== \$preset\"
			cmake --preset \$preset
			cmake --build --preset \$preset -j \$(nproc) -- -k 0
		done
		ctest --preset asan -j \$(nproc)
	"
' bash "$chroot"
