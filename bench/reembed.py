#!/usr/bin/env python3
"""reembed: what sending documents again costs, as the provider counts it. A redis-server, a rag-api, a rag-worker and the scripted provider of
the tests, all of its own.

Documents of several sections are imported; then the same ones again; with other metadata; with one paragraph changed in some; into another
collection. Of each run the requests and texts that came in at the provider, beside what is right: nothing where no text is new, and the
chunks whose text is new, which are read out of the store's file, where some are. No text may come in twice. Exit code 1 when
anything is not as it should be.

    bench/reembed.py --bin build/release/bin                   10,000 documents, 100 changed
    bench/reembed.py --bin build/asan/bin --documents 60 --changed 5
"""
import argparse
import json
import os
import random
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from engine import Engine  # noqa: E402
from fake_provider import FakeProvider  # noqa: E402

WORDS = ("filter oil change every hundred hours valve pressure pump seal check engine drain warm gasket torque belt hose clamp bolt nut washer "
         "spring lever handle switch fuse relay cable plug socket battery charge water coolant fan shaft bearing grease clean dry replace inspect "
         "measure adjust tighten loosen remove install open close left right upper lower front rear inner outer cold hot").split()
SECTIONS, PARAGRAPHS = 4, 3


def paragraph(document, section, place, version):
    chance = random.Random(f"{document}/{section}/{place}/{version}")
    words = [chance.choice(WORDS) for _ in range(60)]
    return f"Item {document}-{section}-{place}: " + " ".join(words) + "."


def text(document, changed):
    """Markdown. changed: one paragraph in the middle of the document is another one."""
    parts = [f"# Manual {document}"]
    for section in range(SECTIONS):
        parts.append(f"## Section {section}")
        for place in range(PARAGRAPHS):
            parts.append(paragraph(document, section, place, int(changed and (section, place) == (1, 1))))
    return "\n\n".join(parts) + "\n"


class Bench:
    def __init__(self, engine, fake):
        self.engine, self.fake, self.good = engine, fake, True
        self.known = set()  # chunks that were there before a run

    def upload(self, collection, lines):
        body = "".join(json.dumps(line) + "\n" for line in lines)
        outcome = self.engine.finished(self.engine.upload(body, collection), 3600)["import"]
        if outcome["succeeded"] != outcome["items"]:
            raise RuntimeError(f"import: {outcome}")

    def chunks(self):
        """Text of every chunk that the store holds, with what else is embedded: title and heading. A list: equal ones as often as they are."""
        with sqlite3.connect(f"file:{self.engine.env['DATA_DIR']}/rag.db?mode=ro", uri=True) as db:
            return db.execute("SELECT g.title, c.heading, c.text FROM chunk c JOIN generation g ON g.id = c.generation").fetchall()

    def run(self, name, collection, lines, expected):
        """expected(chunks before, chunks after) -> how many texts are to come in."""
        began = time.monotonic()
        self.fake.control("POST", "reset")
        self.fake.config(latency_ms=20)
        self.upload(collection, lines)
        took = time.monotonic() - began
        chunks = set(self.chunks())
        stats, want = self.fake.stats(), expected(self.known, chunks)
        self.known = chunks
        ok = stats["inputs"] == want and stats["requests"] == stats["ok"] and (want > 0 or stats["requests"] == 0)
        self.good = self.good and ok
        per = f", {stats['inputs'] / stats['requests']:.1f} texts a request" if stats["requests"] else ""
        print(f"{name:46} {len(lines):6} documents in {took:6.1f} s: {stats['requests']:6} requests, {stats['inputs']:6} texts (right: {want}){per}"
              f"{'' if ok else '  FAULT'}", flush=True)


def lines_of(documents, changed=(), **more):
    return [{"id": f"doc-{n}", "title": f"Manual {n}", "content_type": "text/markdown", "text": text(n, n in changed), **more} for n in documents]


def new_ones(before, after):
    return len(after - before)


def nothing(_before, _after):
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of the executables")
    parser.add_argument("--documents", type=int, default=10000)
    parser.add_argument("--changed", type=int, default=100)
    parser.add_argument("--slots", type=int, default=16)
    args = parser.parse_args()
    everything = range(args.documents)
    step = max(1, args.documents // args.changed)
    changed = set(range(0, args.documents, step)[:args.changed])
    with FakeProvider() as fake:
        env = {"EMBEDDER": "openai", "OPENAI_BASE_URL": fake.url("openai"), "OPENAI_API_KEY": "k", "EMBEDDING_MODEL": "text-embedding-3-small",
               "EMBEDDING_DIM": "256", "EMBEDDING_CACHE_BYTES": str(1 << 30), "WORKERS": str(args.slots),
               "GENERATOR": "extractive", "RERANKER": "local"}
        with Engine(args.bin, env) as engine:
            engine.start_api()
            engine.start_worker()
            bench = Bench(engine, fake)
            bench.run("first time", "default", lines_of(everything), new_ones)
            total = len(bench.chunks())
            bench.run("the same again", "default", lines_of(everything), nothing)
            bench.run("the same texts, other metadata", "default", lines_of(everything, metadata={"edition": 2}), nothing)
            bench.run(f"one paragraph changed in {len(changed)}", "default", lines_of(everything, changed, metadata={"edition": 2}), new_ones)
            engine.ask("POST", "/collections", {"name": "other"})
            bench.run("into another collection", "other", lines_of(everything, changed, metadata={"edition": 2}), nothing)
            print(f"{args.documents} documents are {total} chunks")
    return 0 if bench.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
