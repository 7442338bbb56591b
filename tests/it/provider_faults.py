#!/usr/bin/env python3
"""provider_faults: every fault of a provider, end to end through API and worker, and what becomes of it.

For each provider an engine of its own and a fake provider. Each fault is met twice: once (it goes away by itself), and staying (until the
test heals it). A job must end right: succeed (with the right chunks found, the right answer), wait uncharged and succeed when the fault is
healed, go on with a warning, or fail with a clear error. Never a hang, a lost job, a wrong answer.

The table of what was seen is the one in docs/providers.md: --docs FILE writes it there, --check FILE fails when it says something else.
"""
import argparse
import concurrent.futures
import json
import os
import re
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from engine import Engine  # noqa: E402
from fake_provider import FakeProvider  # noqa: E402

PATIENCE_S = 60  # a limit, not a measure
TIMEOUT_MS = 1500
ENV = {"WORKERS": "2", "ENABLE_CACHING": "false", "BACKOFF_BASE_MS": "20", "BACKOFF_MAX_MS": "200", "MAX_FAILURES": "2", "CHUNK_SIZE": "200",
       "CHUNK_OVERLAP": "0", "PROVIDER_TIMEOUT_MS": str(TIMEOUT_MS), "PROVIDER_ATTEMPTS": "2", "PROVIDER_MAX_WAIT_MS": "1500",
       "PROVIDER_BREAKER_MS": "50", "PROVIDER_BREAKER_FAILURES": "1000", "QUERY_TIMEOUT_MS": "60000"}

# name in the table: (fault, parameters, category)
OUTAGE, SICK, GARBAGE, FINAL, QUOTA, HARMLESS, OWN = "outage", "sick", "garbage", "final", "quota", "harmless", "own"
COMMON = {
    "connection refused": ("down", {}, OUTAGE),
    "closed without an answer": ("close", {}, SICK),
    "connection reset": ("reset", {}, SICK),
    "answer cut in the middle": ("cut", {}, SICK),
    "no answer at all (hangs)": ("hang", {}, SICK),
    "answer late, within the limit": ("delay", {"ms": 200}, HARMLESS),
    "slow drip, past the limit": ("drip", {"ms": 300}, SICK),
    "408": ("status", {"status": 408}, SICK),
    "500": ("status", {"status": 500}, SICK),
    "502 with an HTML page": ("html", {"status": 502}, OUTAGE),
    "503": ("status", {"status": 503}, OUTAGE),
    "503 with Retry-After": ("status", {"status": 503, "hint": "retry-after", "ms": 1000}, OUTAGE),
    "504": ("status", {"status": 504}, OUTAGE),
    "529": ("status", {"status": 529}, OUTAGE),
    "429 in the server's own form": ("limit", {"ms": 300}, OUTAGE),
    "429 without a hint": ("limit", {"hint": "none"}, OUTAGE),
    "429 with Retry-After": ("limit", {"hint": "retry-after", "ms": 1000}, OUTAGE),
    "429 with Retry-After as a date": ("limit", {"hint": "retry-after-date", "ms": 300}, OUTAGE),
    "429 with retry-after-ms": ("limit", {"hint": "retry-after-ms", "ms": 300}, OUTAGE),
    "429 with x-ratelimit-reset": ("limit", {"hint": "ratelimit-reset", "ms": 300}, OUTAGE),
    "429 with RetryInfo": ("limit", {"hint": "retry-info", "ms": 300}, OUTAGE),
    "429 with \"retry in\" in its text": ("limit", {"hint": "message", "ms": 300}, OUTAGE),
    "quota of the day, or no money": ("quota", {}, QUOTA),
    "400": ("status", {"status": 400, "code": "invalid_request_error"}, FINAL),
    "401": ("status", {"status": 401}, FINAL),
    "403": ("status", {"status": 403}, FINAL),
    "404 (model gone)": ("status", {"status": 404}, FINAL),
    "redirect": ("redirect", {}, FINAL),
    "200 with an HTML page": ("html_ok", {}, GARBAGE),
    "200 with nothing": ("empty", {}, GARBAGE),
    "200 with half a JSON text": ("not_json", {}, GARBAGE),
    "broken UTF-8": ("broken_utf8", {}, GARBAGE),
    "endless answer": ("endless", {}, GARBAGE),
    "answer of 64 MiB": ("huge", {}, GARBAGE),
}
EMBED = {
    "a vector too few": ("wrong_count", {}, GARBAGE),
    "a vector too many": ("extra_count", {}, GARBAGE),
    "vectors out of order, with their index": ("wrong_order", {}, HARMLESS),
    "an index that was not asked": ("bad_index", {}, GARBAGE),
    "an index twice": ("duplicate_index", {}, GARBAGE),
    "NaN in a vector": ("nan", {}, GARBAGE),
    "a number too big for a float": ("inf", {}, GARBAGE),
    "null in a vector": ("null_number", {}, GARBAGE),
    "text in a vector": ("string_number", {}, GARBAGE),
    "wrong dimension": ("wrong_dim", {}, GARBAGE),
    "one vector of another dimension": ("mixed_dim", {}, GARBAGE),
    "a vector of zeros": ("zero_vector", {}, GARBAGE),
    "batch too large (413)": ("batch_too_large", {"status": 413}, OWN),
    "batch too large (400)": ("batch_too_large", {"status": 400}, OWN),
    "text too long for the model": ("input_too_long", {}, OWN),
}
RERANK = {
    "a result too few": ("wrong_count", {}, OWN),
    "results out of order": ("wrong_order", {}, HARMLESS),
    "an index that was not asked": ("bad_index", {}, GARBAGE),
    "an index twice": ("duplicate_index", {}, GARBAGE),
    "NaN for a score": ("nan", {}, GARBAGE),
    "null for a score": ("null_number", {}, GARBAGE),
}
GENERATE = {
    "prompt blocked": ("blocked", {}, OWN),
    "ended for safety": ("safety", {}, OWN),
    "ended by the token limit": ("length", {}, OWN),
    "ended by the token limit, no text": ("length_empty", {}, OWN),
    "ended for a reason nobody knows": ("unknown_finish", {}, OWN),
    "ended without text": ("no_text", {}, OWN),
}
STREAM = {
    "stream: an error in it": ("stream_error", {}, OUTAGE),
    "stream: a rate limit in it": ("stream_error", {"status": 429, "message": "Please retry in 0.2s."}, OUTAGE),
    "stream: cut": ("stream_cut", {}, OUTAGE),
    "stream: reset": ("stream_reset", {}, OUTAGE),
    "stream: ends without its mark": ("stream_end", {}, OUTAGE),
    "stream: goes silent": ("stream_stall", {}, OUTAGE),
}
NOT_IN_A_STREAM = {"drip", "huge", "not_json"}
INDEXED = {"wrong_order", "bad_index", "duplicate_index"}  # Gemini's and Cohere's vectors have no index, TEI's none on its own route
OPERATIONS = ("document", "question", "rerank", "generate", "stream")
TITLES = {"document": "embed a document", "question": "embed a question", "rerank": "rerank", "generate": "generate", "stream": "stream"}

# (operation, category): what is right when it goes away, when it stays; "w": with any warning
BROKEN = "fails (PROVIDER_REPLY|TIMEOUT)"  # a request that breaks the server looks like a server that is broken: it comes to an end
W, WAIT = r"warns \w+", r"waits \w+, then succeeds"
RIGHT = {
    ("document", OUTAGE): ("succeeds", WAIT), ("document", SICK): ("succeeds", f"{BROKEN}|{WAIT}"),
    ("question", SICK): ("succeeds", f"{W}|{BROKEN}|{WAIT}"),
    ("document", GARBAGE): ("succeeds", "fails PROVIDER_REPLY"),
    ("document", FINAL): ("fails PROVIDER_REJECTED",) * 2, ("document", QUOTA): ("fails PROVIDER_QUOTA_EXHAUSTED",) * 2,
    ("document", OWN): (f"succeeds|{W}", "fails (TOO_LARGE|PROVIDER_REJECTED)"),
    ("question", OUTAGE): ("succeeds", f"{W}|{WAIT}"), ("question", GARBAGE): ("succeeds", f"{W}|fails PROVIDER_REPLY"),
    ("question", FINAL): (f"{W}|fails PROVIDER_REJECTED",) * 2, ("question", QUOTA): (f"{W}|fails PROVIDER_QUOTA_EXHAUSTED",) * 2,
    ("question", OWN): (f"succeeds|{W}",) * 2,
    **{(op, what): (f"succeeds|{W}", W) for op in ("rerank", "generate", "stream") for what in (OUTAGE, SICK, GARBAGE)},
    **{(op, what): (W, W) for op in ("rerank", "generate", "stream") for what in (FINAL, QUOTA)},
    **{(op, OWN): (f"succeeds|{W}",) * 2 for op in ("rerank", "generate", "stream")},
    **{(op, HARMLESS): ("succeeds",) * 2 for op in OPERATIONS},
}


EITHER = ("succeeds", "warns GENERATOR_FAILED")
STOP = threading.Event()


class WorkerGone(Exception):
    """Nothing that comes after it means anything."""


class Run:
    """One engine against one fake: name of the dialect, the operations, the engine's settings."""

    def __init__(self, dialect, operations, routes, env):
        self.dialect, self.operations, self.routes, self.env = dialect, operations, routes, env


def runs(fake):
    """What is run; a setting may name the fake's URLs."""
    fake.config(tei={"dim": 256})
    embed, plain = ("document", "question"), {"EMBEDDER": "local", "RERANKER": "none", "ENABLE_RERANKING": "false"}
    no_more = {"RERANKER": "none", "ENABLE_RERANKING": "false", "GENERATOR": "extractive"}
    key = {"GOOGLE_API_KEY": "test-key-1", "GEMINI_BASE_URL": fake.url("gemini"), "OPENAI_API_KEY": "test-key-2",
           "OPENAI_BASE_URL": fake.url("openai"), "COHERE_API_KEY": "test-key-3", "COHERE_BASE_URL": fake.url("cohere")}
    tei = {"EMBEDDER": "openai", "EMBEDDING_URL": fake.url("tei") + "/v1", "EMBEDDING_MODEL": "m", "EMBEDDING_DIM": "256"}
    rank = {"EMBEDDER": "local", "GENERATOR": "extractive", "ENABLE_RERANKING": "true", "RERANK_MODEL": "m"}
    return [
        Run("gemini", embed, "gemini.*embed", {**key, **no_more, "EMBEDDER": "gemini", "EMBEDDING_DIM": "256"}),
        Run("openai", embed, "openai.embeddings", {**key, **no_more, "EMBEDDER": "openai", "EMBEDDING_DIM": "256"}),
        Run("cohere", embed, "cohere.embed", {**key, **no_more, "EMBEDDER": "cohere", "EMBEDDING_DIM": "256"}),
        Run("tei", embed, "tei.embeddings", {**no_more, **tei}),
        Run("cohere", ("rerank",), "cohere.rerank", {**key, **rank, "RERANKER": "cohere", "RERANK_MODEL": ""}),
        Run("jina", ("rerank",), "jina.rerank", {**rank, "RERANKER": "jina", "RERANK_URL": fake.url("jina"), "RERANK_API_KEY": "test-key-4"}),
        Run("tei", ("rerank",), "tei.rerank", {**rank, "RERANKER": "tei", "RERANK_URL": fake.url("tei")}),
        Run("gemini", ("generate", "stream"), "gemini.[gs]*", {**key, **plain, "GENERATOR": "gemini"}),
        Run("openai", ("generate", "stream"), "openai.[cs]*", {**key, **plain, "GENERATOR": "openai"}),
        Run("ollama", ("generate", "stream"), "ollama.[cs]*", {**plain, "GENERATOR": "openai", "GENERATION_URL": fake.url("ollama"),
                                                               "GENERATION_MODEL": "m"}),
    ]


def faults_of(operation):
    own = {"document": EMBED, "question": EMBED, "rerank": RERANK, "generate": GENERATE, "stream": {**GENERATE, **STREAM}}[operation]
    return {**COMMON, **own}


def applies(run, operation, fault, parameters):
    if fault in INDEXED and operation in ("document", "question") and (run.dialect in ("gemini", "cohere") or operation == "question"):
        return False
    if parameters.get("hint") in ("retry-info", "message") and run.dialect != "gemini":
        return False
    if fault == "mixed_dim" and operation == "question" or fault == "extra_count" and (operation, run.dialect) == ("question", "gemini"):
        return False  # there is one vector only, or room for one
    if fault == "quota" and run.dialect not in ("gemini", "openai", "cohere"):
        return False
    return operation != "stream" or fault not in NOT_IN_A_STREAM


class Harness:
    def __init__(self, folder, run, fake, only):
        self.run, self.fake, self.only, self.number = run, fake, only, 0
        self.engine = Engine(folder, {**ENV, **run.env})
        self.seen, self.wrong = {}, []

    def all(self):
        with self.engine as engine:
            engine.start_api()
            self.worker = engine.start_worker()
            for operation in self.run.operations:
                for name, (fault, parameters, category) in faults_of(operation).items():
                    if applies(self.run, operation, fault, parameters) and self.only in name:
                        self.one(operation, name, fault, parameters, category)
        return self.seen, self.wrong

    def one(self, operation, name, fault, parameters, category):
        found = []
        for stays in (False, True):
            if fault == "down" and operation != "document" and not stays:
                continue  # how short would once be?
            if category == OWN:  # what the one before has taught is forgotten
                self.engine.stop(self.worker)
                self.worker = self.engine.start_worker()
            right = RIGHT[(operation, category)][stays]
            if (self.run.dialect, operation, name, stays) == ("gemini", "document", "404 (model gone)", False):
                right = "succeeds"  # the call for many may be missing where the one for one text is there
            try:
                outcome = getattr(self, operation)(fault, parameters, stays)
            except WorkerGone:
                raise
            except Exception as error:  # a case that goes wrong must not hide the others
                outcome = f"WRONG: {error}"
            self.heal()
            self.recover(operation, category)
            if operation == "stream" and not stays and (name in STREAM or fault == "endless") and outcome in EITHER:
                outcome = " or ".join(EITHER)  # whether text had been passed on decides, and that is a matter of milliseconds
            found.append(outcome)
            if not re.fullmatch(right, outcome) and outcome != " or ".join(EITHER):
                self.wrong.append(f"{self.run.dialect} {operation} '{name}' {'stays' if stays else 'once'}: {outcome}; right is {right}")
        self.seen[(operation, name)] = (found[0], found[-1])

    # ---- faults ----

    def hurt(self, fault, parameters, stays):
        self.fake.heal()  # a row that nobody met would be met now
        if fault == "down":
            self.fake.down(0 if stays else 300)
        else:
            self.fake.fail(fault, self.run.routes, times=0 if stays else 1, **parameters)

    def heal(self):
        self.fake.up()
        self.fake.heal()

    def recover(self, operation, category):
        """Until a call goes through as if nothing had been: what workers remember of the fault (a time to wait) is over."""
        if category == QUOTA:  # remembered for minutes
            self.engine.redis_call("EVAL", "for _, k in ipairs(redis.call('KEYS', 'rag:{g:*')) do redis.call('DEL', k) end return 1", 0)
        if category in (HARMLESS, GARBAGE, OWN):
            return
        self.until(lambda: getattr(self, operation)("delay", {"ms": 0}, False) == "succeeds", f"{operation} after a fault is healed")

    # ---- the engine ----

    def ask(self, method, path, body=None, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        answer = self.engine.request(method, "/api/v1" + path, body, {"Content-Type": "application/json", **headers})
        return answer.status, json.loads(answer.body) if answer.body else None

    def document_of(self):
        """A document of several chunks that nothing else is like, and the question about it."""
        self.number += 1
        word = f"zorb{self.number:04d}"
        sentence = f"The keeper of the {word} lighthouse is called Maria"
        parts = [f"{sentence}.", f"The {word} lighthouse was built of grey stone " + "near the sea " * 9 + ".",
                 f"Visitors of {word} come by boat " + "in the summer months " * 7 + "."]
        return word, sentence, "\n\n".join(parts)

    def submit(self, word, text):
        status, job = self.ask("POST", "/collections/default/documents", {"id": word, "text": text})
        assert status == 202, (status, job)
        return job["id"]

    def record(self, job):
        status, record = self.ask("GET", f"/jobs/{job}")
        assert status == 200, (status, record)
        return record

    def until(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while True:
            value = condition()
            if value:
                return value
            if STOP.is_set():
                raise WorkerGone("told to stop")
            if self.worker.poll() is not None:
                raise WorkerGone(f"rag-worker ended with {self.worker.returncode}: {self.engine.log_of('worker')[-600:]}")
            if time.monotonic() > end:
                raise AssertionError(f"hangs: {what}")
            time.sleep(0.02)

    def finish(self, job):
        return self.until(lambda: (lambda r: r if r["done"] else None)(self.record(job)), f"job {job} {self.record(job)}")

    def settle(self, job):
        """The record when it is done, or when it waits uncharged for what is away."""
        def now():
            record = self.record(job)
            return record if record["done"] or (record["failures"] == 0 and record["error"]) else None
        return self.until(now, f"job {job}")

    def outcome_of(self, job, check):
        """What became of a job while a fault may stay."""
        record = self.settle(job)
        waited = None
        if not record["done"]:
            waited = record["error"]["code"]
            self.heal()
            record = self.finish(job)
            assert record["failures"] == 0, f"an outage was charged: {record}"
            assert record["status"] == "succeeded", f"not after it was healed: {record}"
        if record["status"] != "succeeded":
            error = record["error"]
            assert error["detail"] and "test-key" not in json.dumps(error), error
            self.heal()
            return f"fails {error['code']}"
        status, result = self.ask("GET", f"/jobs/{job}/result")
        assert status == 200, (status, result)
        self.heal()
        check(result)
        warnings = [w["code"] for w in result.get("warnings") or []]
        if waited:
            return f"waits {waited}, then succeeds"
        return f"warns {warnings[0]}" if warnings else "succeeds"

    def waits_or(self, job, stays, check):
        if stays:
            return self.outcome_of(job, check)
        record = self.finish(job)
        if record["status"] != "succeeded":
            return f"fails {record['error']['code']}"
        status, result = self.ask("GET", f"/jobs/{job}/result")
        assert status == 200, (status, result)
        check(result)
        warnings = [w["code"] for w in result.get("warnings") or []]
        return f"warns {warnings[0]}" if warnings else "succeeds"

    def query(self, body, **headers):
        status, job = self.ask("POST", "/collections/default/query", body, **headers)
        assert status == 202, (status, job)
        return job["id"]

    # ---- operations ----

    def document(self, fault, parameters, stays):
        word, sentence, text = self.document_of()
        self.hurt(fault, parameters, stays)
        job = self.submit(word, text)
        if fault == "down" and not stays:
            self.until(lambda: self.record(job)["done"] or self.record(job)["error"], "the outage to be met")
        outcome = self.waits_or(job, stays, lambda result: None)
        self.heal()
        if "succeeds" in outcome or "warns" in outcome:
            self.found(word, sentence)
        else:
            status, _ = self.ask("GET", f"/collections/default/documents/{word}")
            assert status == 404, f"a document that failed is there: {status}"
        return outcome

    def found(self, word, sentence):
        """Its vectors are its own: the dense search finds the chunk itself first."""
        job = self.query({"query": sentence, "mode": "dense", "generate": False, "rerank": False, "top_k": 3})
        record = self.finish(job)
        assert record["status"] == "succeeded", record
        _, result = self.ask("GET", f"/jobs/{job}/result")
        best = result["results"][0]
        assert best["document_id"] == word and sentence in best["text"], f"wrong vectors: {best}"

    def ingested(self):
        word, sentence, text = self.document_of()
        job = self.submit(word, text)
        assert self.finish(job)["status"] == "succeeded"
        return word, sentence, f"Who is the keeper of the {word} lighthouse?"

    def question(self, fault, parameters, stays):
        word, _, question = self.ingested()
        self.hurt(fault, parameters, stays)

        def right(result):
            assert result["results"][0]["document_id"] == word, f"wrong result: {result['results'][0]}"
        return self.waits_or(self.query({"query": question, "generate": False, "rerank": False}), stays, right)

    def rerank(self, fault, parameters, stays):
        word, _, question = self.ingested()
        self.hurt(fault, parameters, stays)

        def right(result):
            assert result["results"][0]["document_id"] == word, f"wrong order: {result['results'][0]}"
        return self.waits_or(self.query({"query": question, "generate": False, "rerank": True}), stays, right)

    def right_answer(self, word, result):
        assert f"keeper of the {word} lighthouse" in result["answer"] or "warnings" in result and result["warnings"] or result["refused"], \
            f"wrong answer: {result['answer']}"
        cited = re.findall(r"\[(\d+)\]", result["answer"])
        numbers = {str(c["n"]) for c in result["citations"]}
        assert set(cited) <= numbers, f"an answer cites what is not there: {result['answer']} {numbers}"

    def generate(self, fault, parameters, stays):
        word, _, question = self.ingested()
        self.hurt(fault, parameters, stays)
        return self.waits_or(self.query({"query": question}), stays, lambda result: self.right_answer(word, result))

    def stream(self, fault, parameters, stays):
        word, _, question = self.ingested()
        self.hurt(fault, parameters, stays)
        answer = self.engine.request("POST", "/api/v1/collections/default/query", {"query": question},
                                     {"Content-Type": "application/json", "Accept": "text/event-stream"})
        assert answer.status == 200, answer
        text, done = self.follow(answer.body.decode())
        assert done is not None, "the stream has no end"
        if done["status"] != "succeeded":
            return f"fails {done['error']['code']}"
        result = done["result"]
        assert text == result["answer"], f"tokens were mixed: {text!r} is not {result['answer']!r}"
        self.right_answer(word, result)
        warnings = [w["code"] for w in result["warnings"]]
        return f"warns {warnings[0]}" if warnings else "succeeds"

    @staticmethod
    def follow(body):
        """What a client shows that obeys the events, and the last one's data."""
        text, done = "", None
        for block in body.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
            data = json.loads(fields["data"]) if "data" in fields else None
            if fields.get("event") == "token":
                text += data["t"]
            elif fields.get("event") == "reset":
                text = data["text"]
            elif fields.get("event") == "done":
                done = data
        return text, done


# ---- the table ----

def cell_of(outcomes):
    """outcomes: {dialect: (once, stays)}."""
    def side(index):
        words = {}
        for dialect, pair in sorted(outcomes.items()):
            words.setdefault(re.sub(r" ([A-Z_]{4,})", r" `\1`", pair[index]), []).append(dialect)
        if len(words) == 1:
            return next(iter(words))
        return ", ".join(f"{word} ({', '.join(who)})" for word, who in sorted(words.items()))
    if not outcomes:
        return ""
    once, stays = side(0), side(1)
    return once if once == stays else f"{once}; {stays}"


def table(seen):
    names = {}
    for operation in OPERATIONS:
        for name in faults_of(operation):
            names.setdefault(name, {})
    for (dialect, operation, name), pair in seen.items():
        names[name].setdefault(operation, {})[dialect] = pair
    lines = ["| fault | " + " | ".join(TITLES[o] for o in OPERATIONS) + " |", "|---" * (len(OPERATIONS) + 1) + "|"]
    for name, row in names.items():
        if row:
            lines.append(f"| {name} | " + " | ".join(cell_of(row.get(o, {})) for o in OPERATIONS) + " |")
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- faults: begin (made by tests/it/provider_faults.py --docs) -->\n", "<!-- faults: end -->\n"


def in_docs(path, text=None):
    with open(path, encoding="utf-8") as file:
        whole = file.read()
    begin, end = whole.index(BEGIN) + len(BEGIN), whole.index(END)
    if text is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(whole[:begin] + text + whole[end:])
    return whole[begin:end]


def in_cell(cell, dialect):
    """The pair that cell_of has written for this dialect; None where it has none."""
    found = []
    for side in cell.split("; "):
        groups = re.findall(r"(?:^|, )([^()]+?) \(([a-z, ]+)\)", side)
        words = [word for word, who in groups if dialect in who.split(", ")] if groups else [side]
        found.append(words[0].replace("`", "") if words else None)
    return (found[0], found[-1]) if cell else None


def differences(text, seen):
    """What the table says otherwise than it was seen."""
    rows = {cells[0]: dict(zip(OPERATIONS, cells[1:])) for cells in
            ([c.strip() for c in line.strip().strip("|").split("|")] for line in text.splitlines()) if len(cells) == len(OPERATIONS) + 1}
    for (dialect, operation, name), pair in seen.items():
        said = in_cell(rows.get(name, {}).get(operation, ""), dialect)
        if said != pair:
            yield f"{dialect} {operation} '{name}': the table says {said}, seen was {pair}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bin", required=True, help="folder of rag-api and rag-worker")
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--run", default="", help="of these dialects only, with commas")
    parser.add_argument("--operation", default="", help="runs that have this operation only")
    parser.add_argument("--parallel", type=int, default=3, help="engines at a time")
    parser.add_argument("--docs", help="write the table into this file")
    parser.add_argument("--check", help="fail when the table in this file differs")
    args = parser.parse_args()
    seen, wrong, lock = {}, [], threading.Lock()

    def one(index):
        with FakeProvider() as fake:
            run = runs(fake)[index]
            if args.run and run.dialect not in args.run.split(",") or args.operation and args.operation not in run.operations:
                return
            began = time.monotonic()
            try:
                found, bad = Harness(args.bin, run, fake, args.only).all()
            except Exception as error:
                found, bad = {}, [f"{run.dialect} {'+'.join(run.operations)}: {error}"]
            with lock:
                seen.update({(run.dialect, *case): pair for case, pair in found.items()})
                wrong.extend(bad)
                print(f"{run.dialect} {'+'.join(run.operations)}: {len(found)} faults, {len(bad)} wrong, {time.monotonic() - began:.0f} s",
                      *bad, sep="\n  ", flush=True)

    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    with concurrent.futures.ThreadPoolExecutor(args.parallel) as pool:
        with FakeProvider() as fake:
            count = len(runs(fake))
        for future in [pool.submit(one, i) for i in range(count)]:
            future.result()
    text = table(seen)
    print(text)
    print("\n".join(wrong))
    print(f"{2 * len(seen)} cases, {len(wrong)} wrong")
    if args.docs:
        in_docs(args.docs, text)
    other = list(differences(in_docs(args.check), seen)) if args.check else []
    print("\n".join(other))
    return 1 if wrong or other or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
