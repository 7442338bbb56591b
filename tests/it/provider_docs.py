#!/usr/bin/env python3
"""provider_docs: the settings that docs/providers.md shows are settings, and rag-api and rag-worker start with each block of them."""
import argparse
import os
import re
import shlex
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from engine import Engine  # noqa: E402

ROOT = os.path.join(HERE, "..", "..")


def blocks_of(text):
    """(heading, {name: value}) of each fenced block that is nothing but settings."""
    heading = ""
    for part in re.split(r"(?m)^(## .*)$", text):
        if part.startswith("## "):
            heading = part[3:]
            continue
        for block in re.findall(r"(?s)```sh\n(.*?)```", part):
            words = [word for line in block.splitlines() for word in shlex.split(line, comments=True)]
            if words and all(re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", word, re.S) for word in words):
                yield heading, dict(word.split("=", 1) for word in words)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    args = parser.parse_args()
    with open(os.path.join(ROOT, "common", "config.def"), encoding="utf-8") as file:
        names = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', file.read()))
    with open(os.path.join(ROOT, "docs", "providers.md"), encoding="utf-8") as file:
        text = file.read()
    wrong = [n for n in set(re.findall(r"\b(?:EMBED|GENERAT|RERANK|PROVIDER|OPENAI|GEMINI|COHERE|CHROMA)[A-Z]*_[A-Z_]+\b", text))
             if n.removesuffix("_FILE") not in names and not re.search(rf'"{n}"', code())]
    for heading, env in blocks_of(text):
        wrong += [f"{heading}: {name}" for name in env if name.removesuffix("_FILE") not in names]
        with Engine(args.bin) as engine:
            secret = os.path.join(engine.folder, "key")
            with open(secret, "w", encoding="utf-8") as file:
                file.write("a-key\n")
            engine.env.update({name: secret if name.endswith("_FILE") else value for name, value in env.items()})
            engine.start_api()
            engine.start_worker()
            engine.wait(lambda: engine.request("GET", "/api/v1/workers").body.count(b'"live":true') > 0, f"{heading}: rag-worker")
            print(f"{heading}: {len(env)} settings, both start")
    for one in wrong:
        print(f"docs/providers.md names what is no setting: {one}")
    return 1 if wrong else 0


def code():
    """Words in capitals that are no settings: error codes and warnings, as the code has them."""
    found = ""
    for folder in ("common/base", "jobs", "jobs/step"):
        path = os.path.join(ROOT, folder)
        for name in os.listdir(path):
            if name.endswith((".c", ".h")):
                with open(os.path.join(path, name), encoding="utf-8") as file:
                    found += file.read()
    return found


if __name__ == "__main__":
    sys.exit(main())
