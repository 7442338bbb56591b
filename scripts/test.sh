#!/usr/bin/env bash
# test.sh [ctest arguments]: builds with AddressSanitizer and UndefinedBehaviorSanitizer and runs every test; the last lines are
# ctest's summary. Installs missing Debian packages first.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-deps.sh test
cmake --preset asan
cmake --build --preset asan -j "$(nproc)"
ctest --preset asan -j "$(nproc)" "$@"
