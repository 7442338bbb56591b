#!/usr/bin/env python3
"""import: a bulk import from its first byte to its last outcome, with a Redis (AOF on), a rag-api and a rag-worker of its own.

Three runs of the same documents, each into a collection of its own: streamed at --rate bytes a second, at full speed, and at full speed
with the API killed (SIGKILL) in the middle and the upload repeated under its Idempotency-Key. After each: every line succeeded, once in
/items, once in the catalog, one chunk each in the store; `rag-cron verify` finds nothing. Prints documents a second and the
greatest RSS of the API, sampled while it works. Exit code 1 when anything is not as it should be.

    bench/import.py --bin build/release/bin
"""
import argparse
import glob
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

WORDS = "filter oil change every hundred hours valve pressure pump seal check engine drain warm gasket torque belt".split()


def document(number):
    text = " ".join(WORDS[(number * step + step * step) % len(WORDS)] for step in range(1, 25))
    return (json.dumps({"id": f"doc-{number}", "title": f"Note {number}", "text": f"Note {number}: {text}."}) + "\n").encode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Stack:
    def __init__(self, programs, slots):
        self.programs, self.folder = programs, tempfile.mkdtemp(prefix="rag-import-")
        self.redis_port, self.port, self.slots, self.peak, self.stopping = free_port(), free_port(), slots, 0, False
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.redis = subprocess.Popen(["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", self.folder,
                                       "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"], stdout=self.log)
        self.await_port(self.redis_port)
        self.api = self.start("rag-api")
        self.await_port(self.port)
        self.worker = self.start("rag-worker")
        self.sampler = threading.Thread(target=self.sample)
        self.sampler.start()

    def environment(self):
        return {"PATH": os.environ["PATH"], "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0", "API_LISTEN": f"127.0.0.1:{self.port}",
                "METRICS_LISTEN": f"127.0.0.1:{free_port()}", "DATA_DIR": os.path.join(self.folder, "data"), "LOG_LEVEL": "warn",
                "WORKERS": str(self.slots)}

    def start(self, name):
        return subprocess.Popen([os.path.join(self.programs, name)], env=self.environment(), stdout=self.log, stderr=self.log)

    def await_port(self, port):
        until = time.monotonic() + 30
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def sample(self):
        while not self.stopping:
            try:
                with open(f"/proc/{self.api.pid}/status", encoding="ascii") as status:
                    for line in status:
                        if line.startswith("VmRSS:"):
                            self.peak = max(self.peak, int(line.split()[1]))
            except OSError:
                pass
            time.sleep(0.02)

    def kill_api(self):
        self.api.send_signal(signal.SIGKILL)
        self.api.wait()
        self.api = self.start("rag-api")
        self.await_port(self.port)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, "/api/v1" + path, body and json.dumps(body), {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    def stop(self):
        self.stopping = True
        self.sampler.join()
        for process in (self.worker, self.api, self.redis):
            process.terminate()
            process.wait()
        self.log.close()
        shutil.rmtree(self.folder)


def upload(stack, collection, count, rate, kill_at):
    """Streams the documents; True when the answer was 202. kill_at: the line at which the API is killed (0 = never)."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=600)
    connection.putrequest("POST", f"/api/v1/collections/{collection}/documents:import")
    for name, value in (("Content-Type", "application/x-ndjson"), ("Idempotency-Key", f"import-{collection}"), ("Transfer-Encoding", "chunked")):
        connection.putheader(name, value)
    try:
        connection.endheaders()
        began, sent, piece = time.monotonic(), 0, b""
        for number in range(1, count + 1):
            piece += document(number)
            if len(piece) < 16384 and number < count:
                continue
            connection.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            sent, piece = sent + len(piece), b""
            if rate:
                time.sleep(max(0.0, sent / rate - (time.monotonic() - began)))
            if kill_at and number >= kill_at:
                stack.kill_api()
                return None
        connection.send(b"0\r\n\r\n")
        answer = connection.getresponse()
        record = json.loads(answer.read())
        if answer.status != 202:
            raise SystemExit(f"the upload was answered {answer.status}: {record}")
        return record["id"]
    finally:
        connection.close()


def chunks_of(stack, uid):
    total = 0
    for path in glob.glob(os.path.join(stack.folder, "data", "*")):
        try:
            db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            total += db.execute("SELECT count(*) FROM vector v JOIN collection c ON c.id = v.collection WHERE c.uid = ?", (uid,)).fetchone()[0]
        except sqlite3.DatabaseError:
            continue
        finally:
            db.close()
    return total


def check(stack, collection, job, count):
    """What is not as it should be."""
    faults, seen, token = [], {}, ""
    while True:
        status, page = stack.ask("GET", f"/jobs/{job}/items?page_size=1000&page_token={token}")
        if status != 200:
            return [f"items: {status} {page}"]
        for item in page["data"]:
            seen[item["line"]] = seen.get(item["line"], 0) + 1
            if item["status"] != "succeeded" or item["document_id"] != f"doc-{item['line']}":
                faults.append(f"item {item}")
        token = page["next_page_token"]
        if not token:
            break
    if sorted(seen) != list(range(1, count + 1)) or set(seen.values()) != {1}:
        faults.append(f"{len(seen)} lines in /items, {sum(seen.values())} items")
    _, record = stack.ask("GET", f"/collections/{collection}")
    chunks = chunks_of(stack, record["uid"])
    if (record["documents"], record["chunks"], chunks) != (count, count, count):
        faults.append(f"catalog: {record['documents']} documents, {record['chunks']} chunks; store: {chunks} chunks")
    verify = subprocess.run([os.path.join(stack.programs, "rag-cron"), "verify"], env=stack.environment(), capture_output=True, text=True, check=False)
    if verify.returncode != 0:
        faults.append("verify: " + verify.stdout[-2000:])
    return faults[:5]


def run(stack, name, count, rate, kill):
    collection = name.replace(" ", "-")
    stack.ask("POST", "/collections", {"name": collection})
    stack.peak = 0
    began = time.monotonic()
    job = upload(stack, collection, count, rate, count // 2 if kill else 0)
    if kill:
        job = upload(stack, collection, count, rate, 0)
    uploaded = time.monotonic()
    while True:
        _, record = stack.ask("GET", f"/jobs/{job}")
        if record["done"]:
            break
        time.sleep(0.1)
    took = time.monotonic() - began
    outcome = record["import"]
    faults = check(stack, collection, job, count)
    if (record["status"], outcome["succeeded"], outcome["items"], outcome["partial"]) != ("succeeded", count, count, False):
        faults.append(f"record: {record['status']} {outcome}")
    print(f"{name:14} {count} documents in {took:.1f} s ({count / took:.0f}/s; the upload {uploaded - began:.1f} s), "
          f"API RSS at most {stack.peak / 1024:.1f} MiB: {'all succeeded, counts exact' if not faults else 'FAULTS'}", flush=True)
    for fault in faults:
        print("  FAULT", fault)
    return not faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of the executables")
    parser.add_argument("--documents", type=int, default=100000)
    parser.add_argument("--rate", type=int, default=1000000, help="bytes a second of the slow run")
    parser.add_argument("--slots", type=int, default=16, help="of the worker")
    parser.add_argument("--max-rss-mib", type=int, default=64, help="of the API; 0 = not checked")
    args = parser.parse_args()
    stack = Stack(args.bin, args.slots)
    good = True
    try:
        for name, rate, kill in (("slow", args.rate, False), ("full speed", 0, False), ("killed", 0, True)):
            good = run(stack, name, args.documents, rate, kill) and good
            if args.max_rss_mib and stack.peak > args.max_rss_mib * 1024:
                print(f"  FAULT the API had {stack.peak / 1024:.1f} MiB")
                good = False
    finally:
        stack.stop()
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
