#!/usr/bin/env bash
# python-tools.sh [FOLDER [LIST]]: makes a private Python environment of what the tests need (LIST, tests/requirements.txt unless said) in
# FOLDER, by default build/venv, unless it is there already; a changed list or another Python makes it anew. Several at once are fine.
#   python-tools.sh build/chroma tests/chroma-requirements.txt	a Chroma server and its client (scripts/chroma.sh)
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-build/venv}
list=${2:-tests/requirements.txt}
mkdir -p "$(dirname "$venv")"
venv=$(cd "$(dirname "$venv")" && pwd)/$(basename "$venv")

exec 9>"$venv.lock"
flock 9
stamp=$(python3 -c 'import sys; print(sys.version, sys.executable)' && cat "$list")
if [ -e "$venv/stamp" ] && [ "$(cat "$venv/stamp")" = "$stamp" ]; then
	exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv" || {
	echo "could not make a Python environment: is python3-venv installed? (scripts/install-deps.sh test)" >&2
	exit 1
}
"$venv/bin/pip" --quiet --disable-pip-version-check install --requirement "$list"
printf '%s\n' "$stamp" >"$venv/stamp"
