#!/usr/bin/env python3
"""openapi_walk: provokes every status that the contract documents, of every route, and judges each answer by the contract.

Two engines: `fair` has keys and a worker and is asked what clients ask; `rough` has a small API whose Redis answers garbage, is full
and is killed, and whose jobs are ended by end_job in every way that jobs can end. A documented status that no request here
reaches is a failure, and so are an answer that the contract does not allow, and a parameter that no request uses.
"""
import argparse
import collections
import json
import os
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from contract import METHODS, Contract  # noqa: E402
from engine import Answer, Engine  # noqa: E402

# (operation, status): why no request of this walk can reach it. Whatever is listed must really be unreachable here.
UNREACHED = {}

JOB = "query-0-01m83vp7a775yt6bfzws23a96x"
DEFAULTS = {"c": "default", "d": "oil", "id": JOB, "q": "ingest"}
BODIES = {
    "createCollection": {"name": "handbook", "description": "how we work"},
    "patchCollection": {"description": "how we like to work"},
    "submitDocument": {"id": "oil", "text": "Change the oil every 10,000 km. Drain it warm.", "title": "Oil", "metadata": {"km": 10000}},
    "query": {"query": "When do I change the oil?"},
}
LATER = "run_at=2999-01-01T00%3A00%3A00Z&expires_in_s=5&max_failures=3"
# Bodies that are no JSON object: (media type, text).
TEXTS = {
    "importDocuments": ("application/x-ndjson", '{"id":"oil","text":"Change the oil every 10,000 km."}\nnot a document\n'),
    "diffDocuments": ("application/x-ndjson", '{"id":"oil","content_hash":"' + 64 * "0" + '"}\n'),
}
NOBODY = {"c": "nobody", "d": "nothing", "id": JOB, "q": "nowhere"}
# How jobs end, by the status that their result is answered with.
ENDS = {409: "EMBEDDER_MISMATCH", 410: "GONE", 413: "TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE", 422: "BAD_DOCUMENT", 500: "POISON", 502: "PROVIDER_REJECTED",
        503: "STORE_UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 507: "DISK_FULL"}
SUBMITS = {"submitDocument": "ingest", "deleteDocument": "ingest", "deleteCollection": "ingest", "query": "query"}
KEYS = {"all": "rate=100000/3600", "slow": "rate=1/86400", "reader": "scopes=read", "writer": "scopes=ingest", "keeper": "scopes=admin", "stranger": "tenant=strangers"}


class Walk:
    def __init__(self, contract):
        self.contract = contract
        self.engine = None
        self.key = None
        self.failed = None  # a job that may be retried
        self.reached = collections.Counter()
        self.used = set()  # (operation, parameter) of requests that were not refused
        self.faults = []
        self.lock = threading.Lock()

    def path_of(self, name, values, query):
        path = self.contract.operations[name][1]
        for key, value in {**DEFAULTS, **values}.items():
            path = path.replace("{" + key + "}", value)
        return path + ("?" + query if query else "")

    def ask(self, name, expected, values=None, query="", body="default", headers=None, key="default", method=None):
        """One request; expected: the status that it must have (None: any that is documented)."""
        sent = {"X-Request-Id": "walk", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        if body == "default":
            body = BODIES.get(name)
            if name in TEXTS:
                sent["Content-Type"], body = TEXTS[name]
        if isinstance(body, dict):
            sent["Content-Type"] = "application/json"
        key = self.key if key == "default" else key
        if key:
            sent["Authorization"] = "Bearer " + key
        sent.update(headers or {})
        answer = self.engine.request(method or self.contract.operations[name][0], self.path_of(name, values or {}, query), body, sent)
        self.note(name, expected, answer)
        if answer.status < 400:
            self.note_request(name, query, body, sent)
        return answer

    def note_request(self, name, query, body, headers):
        """What was taken must be what the contract allows."""
        named = [pair.split("=")[0] for pair in query.split("&") if pair]
        allowed = {p["name"].lower() for p in self.contract.parameters(name)} | {"authorization", "content-type", "accept"}
        faults = [f"'{p}' was taken, and is not documented" for p in [*named, *headers] if p.lower() not in allowed]
        content = self.contract.operations[name][2].get("requestBody", {}).get("content", {})
        if isinstance(body, dict):
            faults += [f"a body was taken that the contract does not allow: {fault}"
                       for fault in self.contract.faults_of(body, content["application/json"]["schema"])]
        with self.lock:
            self.used.update((name, p.lower()) for p in [*named, *headers])
            self.faults += [f"{name}: {fault}" for fault in faults]

    def note(self, name, expected, answer):
        faults = self.contract.judge(name, answer)
        if expected is not None and answer.status != expected:
            faults.append(f"expected {expected}: {answer.body[:300]!r}")
        with self.lock:
            self.reached[(name, answer.status)] += 1
            self.faults += [f"{name} {answer.status}: {fault}" for fault in faults]

    def job(self, name, **more):
        """The job of a submission."""
        return json.loads(self.ask(name, 202, **more).body)["id"]

    def documents(self, name, status):
        return str(status) in self.contract.operations[name][2]["responses"]


# ---- what the way of every request can end with ----

def walk_refusals(walk):
    """Keys, scopes, parameters, headers: of every operation."""
    for name, (method, path, operation) in walk.contract.operations.items():
        public = operation.get("security") == []
        walk.ask(name, 400, query="%zz=1")
        walk.ask(name, 422, query="nosuch=1")
        walk.ask(name, 431, headers={"X-Large": "x" * 20000})
        if not public:
            walk.ask(name, 401, key=None)
            walk.ask(name, 401, key="nobody's")
            walk.ask(name, None, key="stranger")
            lacking = [key for key in ("reader", "writer", "keeper") if {"reader": "read", "writer": "ingest", "keeper": "admin"}[key]
                       not in operation["x-scope"]]
            walk.ask(name, 403, key=lacking[0])
        if operation.get("x-operators"):
            walk.ask(name, 403, key="stranger")
        for parameter in ("c", "d", "id", "q"):
            if "{" + parameter + "}" in path:
                walk.ask(name, 404, values={parameter: NOBODY[parameter]})
        if "requestBody" in operation:
            walk.ask(name, 415, body="x", headers={"Content-Type": "application/x-nothing"})
            if "application/json" in operation["requestBody"]["content"]:
                walk.ask(name, 400, body="{", headers={"Content-Type": "application/json"})
                walk.ask(name, 422, body={"nosuch": 1})


def walk_limits(walk):
    """429: a key that has had its requests. The headers that say so are on every answer to a key with a limit."""
    walk.ask("listQueues", 200, key="slow")
    for name, (_, _, operation) in walk.contract.operations.items():
        if operation.get("security") == []:
            continue
        answer = walk.ask(name, 429, key="slow")
        if not {"ratelimit", "ratelimit-policy", "retry-after"} <= set(answer.headers):
            walk.faults.append(f"{name} 429: {sorted(answer.headers)}")


def walk_methods(walk):
    """Allow names what is documented; everything else is 405; HEAD is GET without the body."""
    for path, item in walk.contract.document["paths"].items():
        name = next(item[m]["operationId"] for m in METHODS if m in item)
        allowed = {m.upper() for m in METHODS if m in item} | {"OPTIONS"} | ({"HEAD"} if "get" in item else set())
        headers = {"Authorization": f"Bearer {walk.key}"}
        for method in ("OPTIONS", "TRACE", "PUT", "HEAD"):
            answer = walk.engine.request(method, walk.path_of(name, {}, ""), None, headers)
            if method == "HEAD" and "get" in item:
                got = walk.engine.request("GET", walk.path_of(name, {}, ""), None, headers)
                if answer.body or (answer.status, set(answer.headers)) != (got.status, set(got.headers)):
                    walk.faults.append(f"HEAD {path}: {answer.status} {answer.headers}, GET {got.status} {got.headers}")
                continue
            named = set(answer.headers.get("allow", "").split(", "))
            if answer.status != (204 if method == "OPTIONS" else 405) or named != allowed:
                walk.faults.append(f"{method} {path}: {answer.status}, Allow {sorted(named)}, documented {sorted(allowed)}")


# ---- what clients do ----

def walk_pages(walk, name, values=None):
    first = json.loads(walk.ask(name, 200, values=values, query="page_size=1").body)
    walk.ask(name, 200, values=values, query="page_token=" + first["next_page_token"])
    walk.ask(name, 400, values=values, query="page_token=nonsense")


def walk_contract(walk):
    answer = walk.ask("getContract", 200, key=None)
    walk.ask("getContract", 304, key=None, headers={"If-None-Match": answer.headers["etag"]})


def walk_collections(walk):
    walk.ask("createCollection", 201)
    walk.ask("createCollection", 409)
    walk.ask("createCollection", 201, body={"name": "second"})
    walk_pages(walk, "listCollections")
    walk.ask("getCollection", 200)
    walk.ask("patchCollection", 200, values={"c": "handbook"})
    walk.ask("patchCollection", 200, values={"c": "handbook"}, headers={"Content-Type": "application/merge-patch+json"})


# where any words will not do
SAMPLES = {"text/xml": "<oil><change>warm</change></oil>", "text/rtf": "{\\rtf1 Oil is changed {\\b warm}.}"}


def walk_documents(walk):
    wait = {"Prefer": "wait=30"}
    first = walk.job("submitDocument", headers={"Idempotency-Key": "walk-1"})
    again = walk.ask("submitDocument", 202, headers={"Idempotency-Key": '"walk-1"'})
    if again.headers.get("idempotent-replayed") != "true" or json.loads(again.body)["id"] != first:
        walk.faults.append("submitDocument: a repeated key is not replayed")
    walk.ask("submitDocument", 422, headers={"Idempotency-Key": "walk-1"}, body={"text": "another"})
    walk.ask("submitDocument", 200, headers=wait)
    for kind in walk.contract.operations["submitDocument"][2]["requestBody"]["content"]:
        if kind.startswith("text/"):
            walk.ask("submitDocument", 200, query="id=raw.1&title=Raw&metadata=%7B%22a%22%3A1%7D&delay_s=0",
                     headers={**wait, "Content-Type": kind}, body=SAMPLES.get(kind, "# Raw\n\nOil is changed <b>warm</b>."))
    walk.ask("submitDocument", 202, body={"text": "later", "delay_s": 1000, "expires_in_s": 2000, "max_failures": 2})
    walk.ask("submitDocument", 202, query=f"raw=true&uri=x%3Ay&{LATER}", headers={"Content-Type": "application/json"}, body='{"oil": "warm"}')
    walk.ask("listDocuments", 200)
    walk_pages(walk, "listDocuments")
    walk.ask("getDocument", 200)
    walk.ask("deleteDocument", 200, values={"d": "raw.1"}, headers=wait, query="delay_s=0")
    walk.ask("deleteDocument", 202, query=LATER, headers={"Idempotency-Key": "walk-2"})


def half_import(walk, collection, then, status):
    """An upload that is not over when `then` happens."""
    s = socket.create_connection(("127.0.0.1", walk.engine.port), timeout=60)
    line = '{"text":"half"}\n'
    chunk = f"{len(line):x}\r\n{line}\r\n"
    s.sendall((f"POST /api/v1/collections/{collection}/documents:import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {walk.key}\r\n"
               "Content-Type: application/x-ndjson\r\nX-Request-Id: walk\r\n"
               "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
               f"Transfer-Encoding: chunked\r\n\r\n{chunk}").encode())

    def running():
        jobs = json.loads(walk.ask("listJobs", 200, query=f"type=import&status=running&collection={collection}").body)["data"]
        return [job["id"] for job in jobs if job["import"]["items"] > 0]

    walk.engine.wait(running, "an import that is being uploaded")
    then(running()[0])
    s.sendall(f"{chunk}0\r\n\r\n".encode())
    walk.note("importDocuments", status, read_answer(s))


def walk_imports(walk):
    wait = {"Prefer": "wait=30"}
    first = json.loads(walk.ask("importDocuments", 202, headers={"Idempotency-Key": "walk-2"}).body)["id"]
    done = json.loads(walk.ask("importDocuments", 200, headers={"Idempotency-Key": "walk-2", **wait}).body)
    if (done["id"], done["import"]["items"], done["import"]["rejected"]) != (first, 2, 1):
        walk.faults.append(f"importDocuments: {done}")
    walk.ask("importDocuments", 422, query="max_failures=0")
    walk.ask("importDocuments", 202, query="max_failures=2&expires_in_s=1000")
    walk.ask("getJobResult", 200, values={"id": first})
    walk.ask("listItems", 200, values={"id": first}, query="status=failed")
    walk_pages(walk, "listItems", values={"id": first})
    walk.ask("listItems", 404, values={"id": walk.job("query")})
    walk.ask("listItems", 404, values={"id": first}, key="stranger")
    walk.ask("listItems", 422, values={"id": first}, query="status=asleep")
    walk.ask("diffDocuments", 200, query="extra=10")
    walk.ask("diffDocuments", 200, query="extra=1&extra_after=a")
    walk.ask("diffDocuments", 400, body="{", headers={"Content-Type": "application/x-ndjson"})
    half_import(walk, "default", lambda job: walk.ask("cancelJob", None, values={"id": job}), 409)
    walk.ask("createCollection", 201, body={"name": "doomed"})
    half_import(walk, "doomed", lambda job: walk.ask("deleteCollection", 202, values={"c": "doomed"}), 410)
    walk.ask("deleteJob", 204, values={"id": first})


def walk_query(walk):
    wait = {"Prefer": "wait=30"}
    walk.ask("submitDocument", 200, headers=wait)
    for more in ({}, {}, {"generate": False}, {"explain": True, "rerank": True, "filter": {"$or": [{"km": {"$gte": 1}}, {"km": None}]}},
                 {"mode": "lexical", "top_k": 1, "max_tokens": 16}, {"mode": "dense", "query": "Who wrote Faust?"}):
        walk.ask("query", 200, headers=wait, body={**BODIES["query"], **more})
    walk.ask("query", 202, headers={"Prefer": "respond-async", "Idempotency-Key": "walk-3"})
    walk.ask("query", 202, body={**BODIES["query"], "stream": True})
    followed = walk.ask("query", 200, headers={"Accept": "text/event-stream"})
    if not followed.headers["content-type"].startswith("text/event-stream") or b"event: done" not in followed.body:
        walk.faults.append(f"query: an event stream without its end: {followed.body[-300:]!r}")


def walk_jobs(walk):
    done = walk.job("query")
    walk.ask("getJobResult", 200, values={"id": done}, headers={"Prefer": "wait=30"})
    record = walk.ask("getJob", 200, values={"id": done})
    walk.ask("getJob", 304, values={"id": done}, headers={"If-None-Match": record.headers["etag"]})
    walk.ask("getJobEvents", 200, values={"id": done})
    walk.ask("getJobEvents", 400, values={"id": done}, query="after=nonsense")
    walk.ask("getJobEvents", 204, values={"id": done}, headers={"Last-Event-ID": str(json.loads(record.body)["version"])})
    walk.ask("getJobEvents", 204, values={"id": done}, query=f"after={json.loads(record.body)['version']}")
    walk.ask("cancelJob", 409, values={"id": done})
    walk.ask("retryJob", 409, values={"id": done})
    later = walk.job("query", body={**BODIES["query"], "run_at": "2999-01-01T00:00:00Z"})
    walk.ask("getJob", 200, values={"id": later}, headers={"If-None-Match": '"v0"', "Prefer": "wait=1"})
    walk.ask("getJobResult", 202, values={"id": later})
    walk.ask("deleteJob", 409, values={"id": later})
    walk.ask("cancelJob", 200, values={"id": later})
    walk.ask("getJobResult", 409, values={"id": later})
    walk.ask("deleteJob", 412, values={"id": later}, headers={"If-Match": '"v0"'})
    tag = walk.ask("getJob", 200, values={"id": later}).headers["etag"]
    walk.ask("deleteJob", 204, values={"id": later}, headers={"If-Match": tag})
    foreign = walk.job("submitDocument")
    for name in ("getJob", "getJobResult", "getJobEvents", "cancelJob", "retryJob", "deleteJob"):
        walk.ask(name, 404, values={"id": foreign}, key="stranger")
    walk.ask("listJobs", 200, query="queue=ingest&type=ingest&collection=default&status=succeeded&page_size=2")
    for number in range(2):  # whose markup holds no text
        walk.ask("submitDocument", 422, headers={"Prefer": "wait=30"}, body={"text": f"<b title='{number}'></b>", "content_type": "text/html"})
    walk.ask("listJobs", 200, query="error=EMPTY_TEXT")
    walk_pages(walk, "listJobs")
    walk_pages(walk, "listDead")
    walk.ask("listJobs", 422, query="status=asleep")


def walk_queues(walk):
    walk.ask("listQueues", 200)
    walk.ask("getQueue", 200)
    walk.ask("pauseQueue", 200, values={"q": "hook"})
    walk.ask("resumeQueue", 200, values={"q": "hook"})
    walk.ask("listDead", 200)
    walk.ask("listWorkers", 200)
    walk.ask("listWorkers", 200, query="queue=query")
    walk.ask("listDependencies", 200)


def walk_deletes(walk):
    walk.ask("deleteCollection", 200, values={"c": "second"}, headers={"Prefer": "wait=30"})
    walk.ask("deleteCollection", 202, values={"c": "handbook"}, headers={"Idempotency-Key": "walk-4"})


# ---- jobs that end in every way ----

def walk_ends(walk, end_job):
    """Every submission that waits, and the result, of jobs that fail with each code."""
    def end(queue, how):
        end_job.stdin.write(f"{queue} {how}\n")
        end_job.stdin.flush()
        return end_job.stdout.readline().strip()

    failed = None
    for name, queue in SUBMITS.items():
        for status, code in ENDS.items():
            if not walk.documents(name, status):
                continue
            if name == "deleteCollection":
                walk.engine.request("POST", "/api/v1/collections", {"name": "doomed"}, {"Content-Type": "application/json"})
            values = {"c": "doomed"} if name == "deleteCollection" else {}
            asking = threading.Thread(target=walk.ask, args=(name, status), kwargs={"values": values, "headers": {"Prefer": "wait=30"}})
            asking.start()
            job = end(queue, code)
            asking.join()
            if name == "query":
                failed = job
                walk.ask("getJobResult", status, values={"id": job})
                walk.ask("getJob", 200, values={"id": job})
                walk.ask("listDead", 200, values={"q": "query"})
    walk.ask("retryJob", 202, values={"id": failed})
    held = end("query", "hold")
    walk.ask("cancelJob", 202, values={"id": held})
    walk.ask("query", 202)
    walk.failed = end("query", "POISON")


# ---- an engine in trouble ----

def raw_request(engine, name, walk, more, body=b""):
    """A request whose headers or body http.client would not send."""
    method, _, _ = walk.contract.operations[name]
    kind = TEXTS[name][0] if name in TEXTS else "application/json"
    s = socket.create_connection(("127.0.0.1", engine.port), timeout=60)
    s.sendall(f"{method} {walk.path_of(name, {}, '')} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{more}\r\n".encode() + body)
    return s


def read_answer(s):
    import http.client
    answer = http.client.HTTPResponse(s)
    answer.begin()
    out = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    s.close()
    return out


def walk_bodies(walk):
    """408: a body that does not arrive; 413: one that is too large."""
    for name in walk.contract.operations:
        for status, more, body in ((408, "Content-Length: 100\r\n", b'{"text"'), (413, "Content-Length: 100000000\r\n", b"")):
            if walk.documents(name, status) and "requestBody" in walk.contract.operations[name][2]:
                walk.note(name, status, read_answer(raw_request(walk.engine, name, walk, more, body)))


def walk_crowd(walk):
    """429: while the one request that may be is in progress. The one that holds the place may come too early or be over too soon
    on a busy machine, so another answer than 429 only means to try again."""
    def crowded(name):
        s = raw_request(walk.engine, "query", walk, "Content-Length: 100\r\n", b"{")
        time.sleep(0.02)
        method, _, _ = walk.contract.operations[name]
        kind, body = TEXTS.get(name, ("application/json", BODIES.get(name)))
        answer = walk.engine.request(method, walk.path_of(name, {}, ""), body, {"Content-Type": kind})
        s.close()
        if answer.status == 429:
            walk.note(name, 429, answer)
        return answer.status == 429

    for name in walk.contract.operations:
        walk.engine.wait(lambda: crowded(name), f"429 of {name}")


def walk_origin(walk):
    """403 of an engine without keys: the page of another origin."""
    for name in walk.contract.operations:
        walk.ask(name, 403, headers={"Origin": "https://elsewhere.example"})


def walk_status(walk, status):
    for name in walk.contract.operations:
        if walk.documents(name, status):
            walk.ask(name, status)


def walk_full(walk):
    """507: Redis has no memory left. Once the API has seen that, it refuses submissions by itself (503): then once more, from before."""
    def refused(name):
        walk.engine.redis_call("CONFIG", "SET", "maxmemory", "0")
        walk.engine.wait(lambda: walk.engine.request("POST", walk.path_of("query", {}, ""), BODIES["query"], json_type).status == 202, "room")
        walk.engine.redis_call("CONFIG", "SET", "maxmemory", "1")
        method, _, _ = walk.contract.operations[name]
        kind, body = TEXTS.get(name, ("application/json", BODIES.get(name)))
        answer = walk.engine.request(method, walk.path_of(name, {"id": walk.failed}, ""), body, {"Content-Type": kind})
        if answer.status != 503:
            walk.note(name, 507, answer)
        return answer.status != 503

    json_type = {"Content-Type": "application/json"}
    walk.ask("submitDocument", 202)
    for name in walk.contract.operations:
        if walk.documents(name, 507) and name != "getJobResult":  # which is of a job that ended so
            walk.engine.wait(lambda: refused(name), f"507 of {name}")
    walk.engine.redis_call("CONFIG", "SET", "maxmemory", "0")


def walk_garbage(walk):
    """500: Redis answers what it never should."""
    walk.engine.proxy.garble = "rag-api"
    walk_status(walk, 500)
    walk.engine.proxy.garble = None
    walk.engine.wait(lambda: walk.engine.request("GET", "/api/v1/queues").status == 200, "the end of the garbage")


def walk_outage(walk):
    """503: Redis is gone."""
    walk.engine.stop(walk.engine.redis)
    walk_status(walk, 503)


# ---- all of it ----

def run(walk, step, *more):
    began = time.monotonic()
    before = len(walk.faults)
    step(walk, *more)
    print(f"  {step.__name__:16} {time.monotonic() - began:5.1f} s  {len(walk.faults) - before} faults", flush=True)


def walk_fair(walk, programs):
    with Engine(programs, {"WORKERS": "2"}, keys=KEYS) as engine:
        walk.engine, walk.key = engine, "all"
        engine.start_api()
        engine.start_worker()
        served = engine.request("GET", "/openapi.json")
        if served.status != 200 or json.loads(served.body) != walk.contract.document:
            walk.faults.append(f"GET /openapi.json: {served.status}, and not the file of the source")
        for step in (walk_contract, walk_refusals, walk_limits, walk_methods, walk_collections, walk_documents, walk_imports, walk_query, walk_jobs, walk_queues,
                     walk_deletes):
            run(walk, step)


def walk_rough(walk, programs, end_job):
    small = {"MAX_CONCURRENT_REQUESTS": "1", "API_MAX_BODY_BYTES": "1024", "API_BODY_TIMEOUT_MS": "1000", "REDIS_HEADROOM_PERCENT": "0",
             "API_KEEP_ALIVE_MS": "0", "API_IMPORT_STALL_MS": "1000"}
    with Engine(programs, small, proxy=True) as engine:
        walk.engine, walk.key = engine, None
        engine.start_api()
        worker = engine.spawn("end_job", [end_job, f"unix://{engine.socket}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        run(walk, walk_ends, worker)
        worker.stdin.close()
        worker.wait()
        for step in (walk_origin, walk_bodies, walk_crowd, walk_garbage, walk_full, walk_outage):
            run(walk, step)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of the executables")
    parser.add_argument("--end-job", required=True, help="the executable end_job")
    parser.add_argument("--contract", required=True, help="api/openapi.json")
    args = parser.parse_args()
    with open(args.contract, encoding="utf-8") as file:
        walk = Walk(Contract(json.load(file)))
    walk_fair(walk, args.bin)
    walk_rough(walk, args.bin, os.path.abspath(args.end_job))

    documented = walk.contract.documented()
    missing = sorted(documented - set(walk.reached) - set(UNREACHED))
    stale = sorted(set(UNREACHED) & set(walk.reached))
    for name in walk.contract.operations:
        for parameter in walk.contract.parameters(name):
            if parameter["in"] != "path" and (name, parameter["name"].lower()) not in walk.used:
                walk.faults.append(f"{name}: parameter {parameter['name']} is documented, and no request of the walk tries it")
    for fault in dict.fromkeys(walk.faults):
        print("FAULT", fault)
    for name, status in missing:
        print(f"FAULT {name} {status}: documented, and not reached by any request of the walk")
    for name, status in stale:
        print(f"FAULT {name} {status}: is listed as unreachable, and was reached")
    print(f"{sum(walk.reached.values())} answers judged; {len(set(walk.reached) & documented)} of {len(documented)} documented "
          f"(operation, status) pairs reached, {len(UNREACHED)} listed as unreachable, {len(set(walk.faults))} faults")
    return 1 if walk.faults or missing or stale else 0


if __name__ == "__main__":
    sys.exit(main())
