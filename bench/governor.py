#!/usr/bin/env python3
"""governor: several workers and one provider that takes so many requests a minute, and no more.

Starts a redis-server, a rag-api, --workers rag-workers and the fake provider of tests/fake with --limit requests a minute, imports as many
documents as take --minutes at that limit (one call to the provider each: EMBEDDING_BATCH=1, no cache), and counts at the provider. It must
show: never more than the limit in any 60 seconds as the provider counts, at least 90 % of it used from the first call to the last, no
request refused with 429, no job failed, no failure or start charged. Exit code 1 when anything is not as it should be.

    bench/governor.py --bin build/release/bin
"""
import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "support"))
import engine  # noqa: E402
import fake_provider  # noqa: E402

WORDS = "filter oil change every hundred hours valve pressure pump seal check engine drain warm gasket torque belt".split()
ROUTE = "openai.embeddings"


def document(number):
    text = " ".join(WORDS[(number * step + step * step) % len(WORDS)] for step in range(1, 12))
    return json.dumps({"id": f"doc-{number}", "text": f"Note {number}: {text}."}) + "\n"


def settings(fake, arguments):
    return {"EMBEDDER": "openai", "OPENAI_BASE_URL": fake.url("openai"), "OPENAI_API_KEY": "sk-bench", "EMBEDDING_BATCH": "1",
            "EMBEDDING_CACHE_BYTES": "0", "EMBEDDING_RPM": str(arguments.limit), "GENERATOR": "extractive", "RERANKER": "none",
            "WORKERS": str(arguments.slots), "QUEUES": "ingest"}


def charged(running, batch, count):
    """A sample of the records that wait: what they wait for, and what was charged to them."""
    seen = {}
    for line in range(1, count + 1, max(1, count // 50)):
        record = json.loads(running.request("GET", f"/api/v1/jobs/{batch}.{line}").body)
        if record.get("status") == "retrying":
            what = record["waiting_for"]
            seen[what] = seen.get(what, 0) + 1
            if record["failures"] or record["attempt"]:
                raise RuntimeError(f"a wait was charged: {record}")
    return seen


def follow(running, fake, batch, count, limit):
    """Until the import is over; prints a line every ten seconds."""
    started, told, waits = time.monotonic(), 0, {}
    patience = 120 + 2.5 * 60 * count / limit
    while True:
        record = running.ask("GET", f"/jobs/{batch}")
        ended = record["import"]["succeeded"] + record["import"]["failed"]
        now = time.monotonic() - started
        if record["done"] or now >= told + 10:
            told = now
            waits.update(charged(running, batch, count))
            print(f"{now:5.0f} s: {ended} documents done; {fake.window(ROUTE)['total']} requests, "
                  f"at most {fake.window(ROUTE)['max']} in a minute", flush=True)
        if record["done"]:
            return record["import"], waits
        if now > patience:
            raise RuntimeError(f"not over after {patience:.0f} s: {record}")
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--limit", type=int, default=600, help="requests a minute")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=8, help="of each worker")
    arguments = parser.parse_args()
    count = int(arguments.limit * arguments.minutes)
    with fake_provider.FakeProvider() as fake:
        fake.config(limits=[{"route": ROUTE, "requests_per_minute": arguments.limit}], latency_ms=50)
        with engine.Engine(arguments.bin, settings(fake, arguments)) as running:
            running.start_api()
            for _ in range(arguments.workers):
                running.start_worker()
            print(f"{arguments.workers} workers of {arguments.slots} slots, {count} documents, a limit of {arguments.limit} requests a minute")
            batch = running.upload("".join(map(document, range(count))))["id"]
            outcome, waits = follow(running, fake, batch, count, arguments.limit)
            view = running.ask("GET", "/dependencies")["data"]
        seen, stats = fake.window(ROUTE), fake.stats(ROUTE)
    times = seen["times_s"]
    minutes = (max(times) - min(times)) / 60
    # the first call is the beginning of the time, not a part of what came in it
    used = (len(times) - 1) / (minutes * arguments.limit)
    refused = stats["statuses"].get("429", 0)
    print(f"waited for: {waits or 'nothing'}")
    print(f"{len(times)} requests in {minutes * 60:.1f} s: {100 * used:.1f} % of the limit used; at most {seen['max']} of {arguments.limit} in any 60 s; "
          f"{refused} refused; {outcome['succeeded']} of {count} jobs succeeded, {outcome['failed']} failed")
    print(f"the governor: {view[0]['granted_total']} let go, {view[0]['refused_total']} had to come again")
    wrong = [text for bad, text in ((seen["max"] > arguments.limit, "more than the limit in a minute"), (used < 0.9, "less than 90 % used"),
                                    (refused > 0, "requests were refused"), (outcome["succeeded"] != count, "not all jobs succeeded"),
                                    (len(times) != count, "a call was repeated or left out")) if bad]
    print("; ".join(wrong) if wrong else "as it should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
