#!/usr/bin/env python3
"""first_token: how long a reader waits for the first word of an answer, beside how long the model takes for it.

A Redis, a rag-api and a rag-worker of its own; in the place of the model tests/fake/provider.py, which begins to answer after --model-ms. Each
question is streamed (Accept: text/event-stream), one after the other, without the answer cache; what is measured is from the request to the
first `token` event, and so holds the queue, retrieval, reranking, the prompt and the way of the words. Checks that the tokens of each stream are
the answer of its result. Exit code 1 when they are not.

    bench/first_token.py --bin build/release/bin
"""
import argparse
import http.client
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
from engine import Engine  # noqa: E402
from fake_provider import FakeProvider  # noqa: E402

DOCUMENTS = ("Change the oil every 10,000 km. Drain it while the engine is warm.", "The grey heron nests in tall trees near lakes.",
             "The oil filter is changed with the oil, every 10,000 km.")
ROUTE = "/api/v1/collections/default/"


def events(answer):
    """(name, data) of each event of a stream."""
    name = ""
    for line in answer:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


def ask(engine, question):
    """Milliseconds to the first token, and whether the tokens were the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=60)
    began, first, text = time.monotonic(), None, ""
    connection.request("POST", ROUTE + "query", json.dumps({"query": question}),
                       {"Content-Type": "application/json", "Accept": "text/event-stream"})
    for name, data in events(connection.getresponse()):
        if name == "token":
            first = first or (time.monotonic() - began) * 1000
            text += data["t"]
        elif name == "reset":
            text = data["text"]
        elif name == "done":
            connection.close()
            return first, text == data["result"]["answer"] and not data["result"]["warnings"]
    return first, False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--model-ms", type=int, default=100)
    options = parser.parse_args()
    with FakeProvider() as fake:
        env = {"GENERATOR": "openai", "GENERATION_MODEL": "m", "OPENAI_BASE_URL": fake.url("vllm"), "ENABLE_CACHING": "false"}
        with Engine(options.bin, env) as engine:
            engine.start_api()
            engine.start_worker()
            for number, text in enumerate(DOCUMENTS):
                answer = engine.request("POST", ROUTE + "documents", {"id": f"d{number}", "text": text},
                                        {"Content-Type": "application/json", "Prefer": "wait=30"})
                if answer.status != 200:
                    sys.exit(f"a document was not taken: {answer}")
            fake.config(latency_ms=options.model_ms)
            seen = [ask(engine, f"When do I change the oil of engine {n}?") for n in range(options.questions)]
    waits = sorted(first for first, _ in seen if first)
    right = sum(ok for _, ok in seen)
    if not waits or right < len(seen):
        sys.exit(f"{len(seen) - right} of {len(seen)} streams were not the answer")
    print(f"{len(seen)} questions, a model that takes {options.model_ms} ms to its first word: request to first token p50 "
          f"{waits[len(waits) // 2]:.1f} ms, p99 {waits[len(waits) * 99 // 100]:.1f} ms; every stream was its answer")


if __name__ == "__main__":
    main()
