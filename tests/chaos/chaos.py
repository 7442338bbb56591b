#!/usr/bin/env python3
"""chaos: kills what can be killed while documents are ingested, then counts.

Starts a private redis-server (append-only file on), one rag-api and some rag-workers from a build folder, submits
documents over HTTP, and meanwhile, at random moments of a fixed seed:

    --kills N         kills every worker with SIGKILL and starts new ones
    --stops N         stops one worker with SIGSTOP until its lease is over, then lets it go on
    --redis-kills N   kills redis-server with SIGKILL and starts it again on the same files
    --api-kills N     kills rag-api with SIGKILL and starts it again (the submitters repeat under their keys)
    --chroma PROGRAM  chunks go into a Chroma server, started from this program (build/chroma/bin/chroma), not into sqlite
    --chroma-kills N  kills it with SIGKILL and starts it again on the same files

Afterwards every job must have succeeded, every document must be there once with the chunks of an undisturbed
run, nothing may be left in the queue, and `rag-cron verify` must find every invariant kept.
Exit code 0 = all held. Only Python's own library is used.
"""
import argparse
import collections
import concurrent.futures
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

WORDS = ("heron lake water reed kiln clay glaze pot fire river stone bridge market barge canal lock mill wheel grain flour bread "
         "oven baker salt ship sail rope harbour light tower bell hour night star map road wagon horse field fence gate barn "
         "roof tile brick wall window glass lamp oil candle book page ink letter seal ring coin").split()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def text_of(number, paragraphs):
    rng = random.Random(number)
    parts = [f"Record {number} of the archive."]
    for _ in range(paragraphs):
        sentences = []
        for _ in range(rng.randint(3, 7)):
            words = [rng.choice(WORDS) for _ in range(rng.randint(6, 14))]
            sentences.append(" ".join(words).capitalize() + ".")
        parts.append(" ".join(sentences))
    return "\n\n".join(parts)


class Chaos:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.folder = tempfile.mkdtemp(prefix="rag-chaos-", dir=args.folder)
        self.socket = os.path.join(self.folder, "redis.sock")
        self.port = free_port()
        self.env = {
            "PATH": os.environ["PATH"], "REDIS_URL": f"unix://{self.socket}",
            "DATA_DIR": os.path.join(self.folder, "data"), "LEASE_MS": str(args.lease_ms),
            "WORKERS": str(args.slots), "API_LISTEN": f"127.0.0.1:{self.port}", "MAX_STARTS": "50",
            "BACKOFF_BASE_MS": "50", "BACKOFF_MAX_MS": "1000", "DRAIN_MS": "20000",
        }
        for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        if args.chroma:
            self.chroma_port = free_port()
            self.env.update(STORE="chroma", CHROMA_PORT=str(self.chroma_port))
        self.redis = self.api = self.chroma = None
        self.workers = []
        self.jobs = {}  # document -> job id
        self.counts = collections.Counter()
        self.lock = threading.Lock()

    # ---- processes ----

    def spawn(self, name, program, extra):
        log = open(os.path.join(self.folder, name + ".log"), "ab")
        return subprocess.Popen([os.path.join(self.args.bin, program)], env={**self.env, **extra}, stdout=log, stderr=log)

    def start_redis(self):
        folder = os.path.join(self.folder, "redis")
        os.makedirs(folder, exist_ok=True)
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        log = open(os.path.join(self.folder, "redis.log"), "ab")
        self.redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", folder, "--appendonly", "yes",
             "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"], stdout=log, stderr=log)
        self.wait(lambda: self.redis_call("PING") == b"+PONG\r\n", 60, "redis-server")

    def redis_call(self, command):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(2)
                s.connect(self.socket)
                s.sendall(command.encode() + b"\r\n")
                return s.recv(4096)
        except OSError:
            return b""

    def start_chroma(self):
        log = open(os.path.join(self.folder, "chroma.log"), "ab")
        self.chroma = subprocess.Popen(
            [self.args.chroma, "run", "--path", os.path.join(self.folder, "chroma"), "--host", "127.0.0.1", "--port",
             str(self.chroma_port)], env={**os.environ, "ANONYMIZED_TELEMETRY": "False"}, stdout=log, stderr=log)
        self.wait(self.chroma_answers, 120, "chroma")

    def chroma_answers(self):
        try:
            conn = http.client.HTTPConnection("127.0.0.1", self.chroma_port, timeout=5)
            conn.request("GET", "/api/v2/heartbeat")
            return conn.getresponse().status == 200
        except OSError:
            return False

    def start_api(self):
        self.api = self.spawn("api", "rag-api", {"METRICS_LISTEN": f"127.0.0.1:{free_port()}"})
        self.wait(lambda: self.request("GET", "/api/v1/queues")[0] == 200, 60, "rag-api")

    def start_worker(self):
        self.workers.append(self.spawn("worker", "rag-worker", {"METRICS_LISTEN": f"127.0.0.1:{free_port()}"}))

    def wait(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise SystemExit(f"chaos: {what} not within {seconds} s; logs in {self.folder}")
            time.sleep(0.05)

    # ---- HTTP ----

    def request(self, method, path, body=None, headers=None):
        try:
            conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            conn.request(method, path, body, headers or {})
            answer = conn.getresponse()
            data = answer.read()
            conn.close()
            return answer.status, json.loads(data) if data else None
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None

    def submit(self, number):
        name = f"doc-{number:06d}"
        body = json.dumps({"id": name, "title": f"Record {number}", "text": text_of(number, self.args.paragraphs)})
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{self.args.seed}-{name}"}
        end = time.monotonic() + 300
        while time.monotonic() < end:
            status, reply = self.request("POST", "/api/v1/collections/default/documents", body, headers)
            if status == 202:
                with self.lock:
                    self.jobs[name] = reply["id"]
                return
            if status not in (0, 429, 503, 507):
                raise SystemExit(f"chaos: submit of {name} answered {status}: {reply}")
            self.counts["submits repeated"] += 1
            time.sleep(0.2)
        raise SystemExit(f"chaos: could not submit {name}")

    # ---- faults ----

    def kill_workers(self):
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.wait()
        self.counts["workers killed"] += len(self.workers)
        self.workers = []
        for _ in range(self.args.workers):
            self.start_worker()

    def stop_worker(self):
        worker = self.rng.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(self.args.lease_ms / 1000 * 2.5)
        worker.send_signal(signal.SIGCONT)
        self.counts["workers stopped past their lease"] += 1

    def kill_redis(self):
        self.redis.kill()
        self.redis.wait()
        time.sleep(self.rng.uniform(0.2, 1.5))
        self.start_redis()
        self.counts["redis killed"] += 1

    def kill_chroma(self):
        self.chroma.kill()
        self.chroma.wait()
        time.sleep(self.rng.uniform(0.2, 1.5))
        self.start_chroma()
        self.counts["chroma killed"] += 1

    def kill_api(self):
        self.api.kill()
        self.api.wait()
        self.start_api()
        self.counts["api killed"] += 1

    def stats(self):
        status, reply = self.request("GET", "/api/v1/queues")
        if status != 200:
            return None
        return {q["name"]: q for q in reply["data"]}

    def pending(self):
        stats = self.stats()
        if stats is None:
            return None
        q = stats["ingest"]
        return q["waiting"] + q["running"] + q["due"]

    def finished(self):
        """Documents committed so far."""
        status, reply = self.request("GET", "/api/v1/collections/default")
        return reply["documents"] if status == 200 else None

    def make_trouble(self):
        """Spreads the faults evenly over the progress of the run."""
        faults = ([self.kill_workers] * self.args.kills + [self.stop_worker] * self.args.stops +
                  [self.kill_redis] * self.args.redis_kills + [self.kill_api] * self.args.api_kills +
                  [self.kill_chroma] * self.args.chroma_kills)
        self.rng.shuffle(faults)
        for index, fault in enumerate(faults):
            mark = (index + 0.5) / (len(faults) + 0.5) * self.args.documents
            self.wait(lambda: (self.finished() or 0) >= mark, 600, f"{mark:.0f} documents")
            fault()
            print(f"  {fault.__name__} at about {mark:.0f} documents", flush=True)

    # ---- the run ----

    def run(self):
        os.makedirs(self.env["DATA_DIR"], exist_ok=True)
        self.start_redis()
        if self.args.chroma:
            self.start_chroma()
        self.start_api()
        for _ in range(self.args.workers):
            self.start_worker()
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            trouble = pool.submit(self.make_trouble)
            list(pool.map(self.submit, range(self.args.documents)))
            trouble.result()
        self.wait(lambda: self.pending() == 0, 900, "an empty queue")
        took = time.monotonic() - began
        return self.check(took)

    def check(self, took):
        problems = []
        outcomes, starts, chunks = collections.Counter(), collections.Counter(), {}
        for name, job in self.jobs.items():
            status, record = self.request("GET", f"/api/v1/jobs/{job}")
            if status != 200:
                problems.append(f"job {job} of {name}: HTTP {status}")
                continue
            outcomes[record["status"]] += 1
            starts[record["attempt"]] += 1
            if record["status"] != "succeeded":
                problems.append(f"job {job} of {name}: {record['status']}: {record.get('error')}")
                continue
            status, result = self.request("GET", f"/api/v1/jobs/{job}/result")
            chunks[name] = result["chunks"]
            if result["superseded"]:
                problems.append(f"{name}: superseded, though sent once")
        if len(self.jobs) != self.args.documents:
            problems.append(f"{len(self.jobs)} jobs for {self.args.documents} documents")
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            code = worker.wait(timeout=60)
            if code != 0:
                problems.append(f"a worker ended with {code} after SIGTERM")
        verify = subprocess.run([os.path.join(self.args.bin, "rag-cron"), "verify"], env=self.env, capture_output=True, text=True)
        if verify.returncode != 0:
            problems.append(f"rag-cron verify: exit {verify.returncode}\n{verify.stdout}\n{verify.stderr}")
        expected = self.expected_chunks()
        for name, count in expected.items():
            if chunks.get(name) != count:
                problems.append(f"{name}: {chunks.get(name)} chunks, undisturbed {count}")
        print(f"{self.args.documents} documents in {took:.1f} s; jobs: {dict(outcomes)}; starts: {dict(sorted(starts.items()))}")
        print("faults: " + (", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())) or "none"))
        print(f"chunks: {sum(chunks.values())}, undisturbed {sum(expected.values())}")
        print(verify.stdout.strip())
        for problem in problems[:20]:
            print("PROBLEM", problem)
        print("chaos: " + ("all invariants held" if not problems else f"{len(problems)} problems; logs in {self.folder}"))
        return 1 if problems else 0

    def expected_chunks(self):
        """What one quiet worker makes of the same documents, in a Redis and a store of its own."""
        quiet = Chaos(argparse.Namespace(**{**vars(self.args), "kills": 0, "stops": 0, "redis_kills": 0, "api_kills": 0,
                                           "chroma": None, "chroma_kills": 0}))
        try:
            os.makedirs(quiet.env["DATA_DIR"], exist_ok=True)
            quiet.start_redis()
            quiet.start_api()
            quiet.start_worker()
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(quiet.submit, range(self.args.documents)))
            quiet.wait(lambda: quiet.pending() == 0, 900, "the undisturbed run")
            counts, token = {}, ""
            while True:
                status, page = quiet.request("GET", f"/api/v1/collections/default/documents?page_size=1000&page_token={token}")
                for document in page["data"]:
                    counts[document["id"]] = document["chunks"]
                token = page["next_page_token"]
                if not token:
                    return counts
        finally:
            quiet.close(keep=False)

    def close(self, keep):
        for process in self.workers + [self.api, self.redis, self.chroma]:
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of the executables")
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--paragraphs", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--slots", type=int, default=4, help="slots of each")
    parser.add_argument("--lease-ms", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stops", type=int, default=1)
    parser.add_argument("--redis-kills", type=int, default=1)
    parser.add_argument("--api-kills", type=int, default=1)
    parser.add_argument("--chroma", help="program of a Chroma server")
    parser.add_argument("--chroma-kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", default="/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
                        help="where the files of Redis and the store go while it runs")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)
    chaos = Chaos(args)
    code = 1
    try:
        code = chaos.run()
    finally:
        chaos.close(keep=code != 0)
    return code


if __name__ == "__main__":
    sys.exit(main())
