#!/usr/bin/env python3
"""embedder_change: a collection has one embedder. With another one configured every route that ingests or queries answers 409, a worker of
another configuration than the API fails each line of an import with EMBEDDER_MISMATCH, nothing is sent to the provider for any of it, and
the way out that the documentation tells, another collection, works.

    tests/it/embedder_change.py --bin build/asan/bin
"""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from engine import NDJSON, Engine  # noqa: E402
from fake_provider import FakeProvider  # noqa: E402

LINES = "".join(json.dumps({"id": f"d{n}", "text": f"The valve number {n} opens to the left."}) + "\n" for n in range(5))


def check(condition, what):
    if not condition:
        raise AssertionError(what)


class Test:
    def __init__(self, engine, fake):
        self.engine, self.fake = engine, fake

    def ask(self, method, path, body=None, headers=None):
        answer = self.engine.request(method, "/api/v1" + path, body, headers)
        return answer.status, json.loads(answer.body)

    def upload(self, collection):
        return self.engine.finished(self.engine.upload(LINES, collection))

    def is_refused(self, what, answer):
        status, problem = answer
        check(status == 409 and problem["code"] == "EMBEDDER_MISMATCH", f"{what}: {status} {problem}")
        check("text-embedding-3-small" in problem["detail"] and "nomic-embed-text" in problem["detail"], f"{what}: {problem['detail']}")

    def run(self):
        engine = self.engine
        api, worker = engine.start_api(), engine.start_worker()
        job = self.upload("default")
        check(job["import"]["succeeded"] == 5, job)
        inputs = self.fake.stats()["inputs"]
        check(inputs == 5, f"{inputs} texts for 5 documents")

        # a worker that was changed before the API: each line says why, and nothing is paid for
        engine.stop(worker)
        engine.env["EMBEDDING_MODEL"] = "nomic-embed-text"
        worker = engine.start_worker()
        job = engine.finished(engine.upload(LINES.replace("left", "right")))
        check(job["import"]["failed"] == 5, job)
        _, items = self.ask("GET", f"/jobs/{job['id']}/items")
        check([item["error"]["code"] for item in items["data"]] == ["EMBEDDER_MISMATCH"] * 5, items)
        status, result = self.ask("POST", "/collections/default/query", {"query": "valve"}, {"Prefer": "wait=30"})
        check(status == 409 and result["code"] == "EMBEDDER_MISMATCH", f"query: {status} {result}")

        # the same content again is no work, whoever looks
        job = self.upload("default")
        check(job["import"]["failed"] == 5, job)  # known under the other embedder only: its version is not this one's
        check(self.fake.stats()["inputs"] == inputs, "a refused document was paid for")

        # the API, too
        engine.stop(api)
        os.truncate(os.path.join(engine.folder, "api.log"), 0)  # start_api looks for the port there
        engine.start_api()
        document = {"id": "new", "text": "A new valve."}
        self.is_refused("JSON", self.ask("POST", "/collections/default/documents", document))
        self.is_refused("raw", self.ask("POST", "/collections/default/documents?id=raw", "A valve.", {"Content-Type": "text/plain"}))
        self.is_refused("import", self.ask("POST", "/collections/default/documents:import", LINES, NDJSON))
        for mode in ("hybrid", "dense"):
            self.is_refused(mode, self.ask("POST", "/collections/default/query", {"query": "valve", "mode": mode}))
        self.is_refused("stream", self.ask("POST", "/collections/default/query", {"query": "valve"}, {"Accept": "text/event-stream"}))
        check(self.fake.stats()["inputs"] == inputs, "a refused request was paid for")

        # the way out
        status, _ = self.ask("POST", "/collections", {"name": "anew"})
        check(status == 201, "a new collection")
        check(self.upload("anew")["import"]["succeeded"] == 5, "ingested again")
        status, result = self.ask("POST", "/collections/anew/query", {"query": "Where does valve number 3 open to?"}, {"Prefer": "wait=30"})
        check(status == 200 and result["citations"][0]["document_id"] == "d3", f"{status} {result}")
        _, collection = self.ask("GET", "/collections/anew")
        check(collection["embedder"] == "openai/nomic-embed-text/768", collection)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    args = parser.parse_args()
    with FakeProvider() as fake:
        env = {"EMBEDDER": "openai", "OPENAI_BASE_URL": fake.url("openai"), "OPENAI_API_KEY": "k", "EMBEDDING_MODEL": "text-embedding-3-small",
               "EMBEDDING_DIM": "768",  # the length is the same: only the fingerprint tells them apart
               "GENERATOR": "extractive", "RERANKER": "local", "QUEUES": "query,ingest"}
        fake.config(openai={"models": ["text-embedding-3-small", "nomic-embed-text"], "dim": 768})
        with Engine(args.bin, env) as engine:
            Test(engine, fake).run()
    print("every route and every line refused another embedder; a new collection took it")


if __name__ == "__main__":
    main()
