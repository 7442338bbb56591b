#!/usr/bin/env bash
# chroma.sh [FOLDER [PORT]]: a Chroma server on 127.0.0.1 with its data in FOLDER (data/chroma unless said), on PORT (8001, where the engine looks
# for it), until it is interrupted. Installs it first, from PyPI, in a private environment (build/chroma; about 500 MB).
#   scripts/chroma.sh & STORE=chroma build/release/bin/rag-worker
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

folder=${1:-data/chroma}
port=${2:-8001}
"$root/scripts/python-tools.sh" "$root/build/chroma" "$root/tests/chroma-requirements.txt"
mkdir -p "$folder"
exec env ANONYMIZED_TELEMETRY=False "$root/build/chroma/bin/chroma" run --path "$folder" --host 127.0.0.1 --port "$port"
