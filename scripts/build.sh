#!/usr/bin/env bash
# build.sh: builds the release and leaves the executables in build/release/bin/. Installs missing Debian packages first.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-deps.sh run
cmake --preset release -DBUILD_TESTING=OFF
cmake --build --preset release -j "$(nproc)"
echo "executables: $PWD/build/release/bin"
