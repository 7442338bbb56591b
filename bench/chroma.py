#!/usr/bin/env python3
"""chroma: the same documents through the engine into Chroma and into sqlite, and the same batches straight into Chroma with its own Python
client, in one run. Prints chunks a second for each. Run it with the Python of build/chroma (scripts/python-tools.sh build/chroma
tests/chroma-requirements.txt):

    build/chroma/bin/python3 bench/chroma.py --bin build/release/bin --chroma build/chroma/bin/chroma

The engine's figure is of the whole way: upload as one import, parse, chunk, embed (`local`), write, count, commit. The client's is of its writes
alone: the records that the engine wrote (ids, vectors, texts, metadata), read back and sent again in batches of --batch to a new collection.
"""
import argparse
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
import engine as support  # noqa: E402

import chromadb  # noqa: E402

WORDS = ("heron lake water reed kiln clay glaze pot fire river stone bridge market barge canal lock mill wheel grain flour bread oven baker salt ship "
         "sail rope harbour light tower bell hour night star map road wagon horse field fence gate barn roof tile brick wall window glass").split()


def document(number, paragraphs):
    rng = random.Random(number)
    text = "\n\n".join(" ".join(rng.choice(WORDS) for _ in range(60)).capitalize() + "." for _ in range(paragraphs))
    return json.dumps({"id": f"doc-{number:06d}", "title": f"Record {number}", "text": text, "metadata": {"shelf": number % 100}}) + "\n"


def ingest(engine, body):
    """Seconds from the first byte to the last outcome, and chunks."""
    engine.start_api()
    engine.start_worker()
    began = time.monotonic()
    record = engine.finished(engine.upload(body), 24 * 3600)
    took = time.monotonic() - began
    if record["status"] != "succeeded":
        raise RuntimeError(record)
    return took, engine.ask("GET", "/collections/default")["chunks"]


def send_again(client, batch):
    source = client.get_collection(client.list_collections()[0].name, embedding_function=None)
    target = client.create_collection("again", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    took = rows = 0
    while True:
        got = source.get(include=["documents", "metadatas", "embeddings"], limit=batch, offset=rows)
        if not got["ids"]:
            return took, rows
        began = time.monotonic()
        target.upsert(ids=got["ids"], documents=got["documents"], metadatas=got["metadatas"], embeddings=got["embeddings"])
        took += time.monotonic() - began
        rows += len(got["ids"])


def report(name, took, chunks):
    print(f"| {name} | {chunks} | {took:.1f} s | {chunks / took:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--chroma", required=True)
    parser.add_argument("--documents", type=int, default=10000)
    parser.add_argument("--paragraphs", type=int, default=8)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--batch", type=int, default=0, help="rows of the client's writes; 0: chunks of one document, as the engine writes them, and 200")
    args = parser.parse_args()
    support.PATIENCE_S = 600
    body = "".join(document(number, args.paragraphs) for number in range(args.documents))
    slots = {"WORKERS": str(args.slots), "LOG_LEVEL": "info"}
    print(f"{args.documents} documents, {len(body) / 1e6:.1f} MB\n\n| | chunks | time | chunks/s |\n|---|---|---|---|", flush=True)
    with support.Engine(args.bin, slots) as engine:
        report("engine into sqlite", *ingest(engine, body))
    with support.Engine(args.bin, slots) as engine:
        client = chromadb.HttpClient("127.0.0.1", engine.start_chroma(args.chroma))
        took, chunks = ingest(engine, body)
        report("engine into Chroma", took, chunks)
        for batch in [args.batch] if args.batch else [max(1, round(chunks / args.documents)), 200]:
            if any(c.name == "again" for c in client.list_collections()):
                client.delete_collection("again")
            report(f"Chroma's Python client, {batch} rows a write", *send_again(client, batch))


if __name__ == "__main__":
    main()
