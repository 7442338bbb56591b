#!/usr/bin/env python3
"""run_schemathesis: PyPI's schemathesis against a live engine with keys and a worker.

It makes requests from the contract, valid and invalid ones, single and in sequences, and judges what comes back: no 5xx, nothing
undocumented, valid requests accepted, invalid ones refused, keys asked for, what was deleted gone. Same seed, same requests; the
configuration is schemathesis.toml beside this file. For a long run by hand: --max-examples 2000.
"""
import argparse
import collections
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from engine import Engine  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of the executables")
    parser.add_argument("--max-examples", type=int, default=20, help="requests of the fuzzing phase for each operation")
    args, more = parser.parse_known_args()
    with Engine(args.bin, {"API_MAX_WAIT_S": "1", "WORKERS": "2"}, keys={"all": ""}) as engine:
        engine.start_api()
        engine.start_worker()
        program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
        code = 0
        for phases in ("examples,coverage,fuzzing", "stateful"):  # in one run, sequences would be cut short by what went before
            count = [] if phases == "stateful" else ["--max-examples", str(args.max_examples)]
            code |= subprocess.run(
                [program, "--config-file", os.path.join(HERE, "schemathesis.toml"), "run", f"http://127.0.0.1:{engine.port}/openapi.json",
                 "-H", "Authorization: Bearer all", "--phases", phases, *count, *more],
                cwd=engine.folder, env={**os.environ, "PYTHONPATH": HERE, "COLUMNS": "130"}, check=False).returncode
        answers = collections.Counter(re.findall(r'"dur_ms":\d+,"status":(\d+)', engine.log_of("api")))
        print("answers: " + ", ".join(f"{count} x {status}" for status, count in sorted(answers.items())))
    return code


if __name__ == "__main__":
    sys.exit(main())
