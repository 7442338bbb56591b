#!/usr/bin/env python3
"""outage: a provider that goes away for some minutes in the middle of a bulk import, and comes back.

A Redis, a rag-api, two rag-workers and a fake provider (tests/fake) of its own. The import has `max_failures=1`: one failure charged to a
line ends that line, so "all succeeded" is "none was charged". Prints how the outage looked (what waiting jobs say, Redis' commands a
second), when work went on after it, and what came of every line. Exit code 1 when anything is not as it should be.

    bench/outage.py --bin build/release/bin --minutes 5
"""
import argparse
import collections
import json
import os
import re
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
import engine as support  # noqa: E402
from fake_provider import FakeProvider  # noqa: E402

WORDS = "filter oil change every hundred hours valve pressure pump seal check engine drain warm gasket torque belt".split()


def document(number):
    text = " ".join(WORDS[(number * step + step * step) % len(WORDS)] for step in range(1, 25))
    return (json.dumps({"id": f"doc-{number}", "text": f"Note {number}: {text}."}) + "\n").encode()


class Outage:
    def __init__(self, args, fake):
        self.args, self.fake, self.failures = args, fake, []
        self.engine = support.Engine(args.bin, {
            "WORKERS": str(args.slots), "GOOGLE_API_KEY": "test-key", "GEMINI_BASE_URL": fake.url("gemini"), "EMBEDDER": "gemini",
            "EMBEDDING_DIM": "256", "PROVIDER_TIMEOUT_MS": "2000", "GENERATOR": "extractive", "RERANKER": "none", "ENABLE_RERANKING": "false"})

    def check(self, well, what):
        if not well:
            self.failures.append(what)
            print(f"  WRONG: {what}")

    def get(self, path, **query):
        text = "?" + urllib.parse.urlencode(query) if query else ""
        answer = self.engine.request("GET", f"/api/v1{path}{text}")
        return json.loads(answer.body)

    def upload(self):
        body = b"".join(document(n) for n in range(self.args.documents))
        return self.engine.upload(body, query="?max_failures=1")["id"]

    def counts(self, job):
        return self.get(f"/jobs/{job}")["import"]

    def commands(self):
        found = re.search(rb"total_commands_processed:(\d+)", self.engine.redis_call("INFO", "stats"))
        return int(found.group(1)) if found else 0

    def go_down(self):
        if self.args.fault == "down":
            self.fake.down()
        else:
            name, _, status = self.args.fault.partition(":")
            self.fake.fail(name, "gemini.*", **({"status": int(status)} if status else {}))

    def come_back(self):
        self.fake.up()
        self.fake.heal()

    def look(self, job, says):
        """What the first waiting lines say of themselves."""
        items = [i for status in ("retrying", "queued") for i in self.get(f"/jobs/{job}/items", page_size=20, status=status).get("data", [])]
        for item in items:
            record = self.get(f"/jobs/{item['job_id']}") if item.get("job_id") else {}
            if not record.get("done", True):
                self.check(record["failures"] == 0, f"a failure was charged: {record}")
                says[(record["status"], record.get("waiting_for"), (record["error"] or {}).get("code"))] += 1

    def outage(self, job):
        before, since, commands, says = self.counts(job), time.monotonic(), self.commands(), collections.Counter()
        end = since + self.args.minutes * 60 + self.args.seconds
        while time.monotonic() < end:
            self.look(job, says)
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))
        lasted, now = time.monotonic() - since, self.counts(job)
        print(f"  away for {lasted:.0f} s ({self.args.fault}): {now['succeeded'] - before['succeeded']} lines more done, {now['failed']} failed, "
              f"{(self.commands() - commands) / lasted:.0f} Redis commands/s, {self.fake.stats('gemini.*')['requests']} requests seen in all")
        for (status, waiting, code), times in says.most_common(6):
            print(f"  waiting jobs say, {times} times: {status}, waiting_for {waiting!r}, last error {code}")
        for item in self.get(f"/jobs/{job}/items", page_size=5, status="failed")["data"]:
            print(f"  failed: {item['error']['code']}: {item['error']['detail']}")
        self.check(now["failed"] == 0, f"{now['failed']} lines failed while the provider was away")
        self.check(now["pending"] > 0, "nothing was left to wait: the outage proves nothing")
        self.check(any(waiting for _, waiting, _ in says), "no waiting job says what it waits for")

    def run(self):
        with self.engine as engine:
            engine.start_api()
            for _ in range(2):
                engine.start_worker()
            self.fake.config(latency_ms=self.args.latency_ms)
            job = self.upload()
            engine.wait(lambda: self.counts(job)["succeeded"] >= self.args.documents // 10, "a tenth of the lines")
            self.go_down()
            print(f"  the provider goes away: {self.counts(job)['succeeded']} of {self.args.documents} lines are done")
            self.outage(job)
            done, back = self.counts(job)["succeeded"], time.monotonic()
            self.come_back()
            engine.wait(lambda: self.counts(job)["succeeded"] > done, "work after the outage")
            print(f"  work goes on {time.monotonic() - back:.1f} s after it is back")
            engine.wait(lambda: self.get(f"/jobs/{job}")["done"], "the end of the import", 3600)
            counts = self.counts(job)
            print(f"  all done {time.monotonic() - back:.1f} s after it is back: {counts['succeeded']} succeeded, {counts['failed']} failed")
            self.check(counts["succeeded"] == self.args.documents, f"not every line succeeded: {counts}")
            self.check(self.get("/collections/default")["documents"] == self.args.documents, "documents are missing")
        return not self.failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bin", required=True, help="folder of rag-api and rag-worker")
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seconds", type=float, default=0, help="added to the minutes")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--latency-ms", type=int, default=20, help="of a call while the provider is there")
    parser.add_argument("--fault", default="down", help="down (connections are refused), or a fault of tests/fake: status:503, hang, ...")
    args = parser.parse_args()
    support.PATIENCE_S = 600
    print(f"outage: {args.documents} documents, 2 workers of {args.slots} slots, {args.fault} for {args.minutes * 60 + args.seconds:.0f} s")
    with FakeProvider() as fake:
        return 0 if Outage(args, fake).run() else 1


if __name__ == "__main__":
    sys.exit(main())
