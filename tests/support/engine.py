"""A whole engine of a test's own, for tests in Python: redis-server, rag-api and rag-worker on free ports of 127.0.0.1, in a
folder that goes with it. Only Python's own library is used.
"""
import collections
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE_S = 60
NDJSON = {"Content-Type": "application/x-ndjson"}
Answer = collections.namedtuple("Answer", "status headers body")  # headers: a dict with names in lower case


class Engine:
    """with Engine(bin, {"NAME": "value"}) as engine: ...; the logs of its processes are printed when the block fails."""

    def __init__(self, folder_of_programs, env=None, keys=None, proxy=False):
        self.bin = os.path.abspath(folder_of_programs)
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.mkdtemp(prefix="rag-test-", dir=shm)
        self.socket = os.path.join(self.folder, "redis.sock")
        self.processes = []
        self.redis = self.proxy = None
        self.port = 0
        self.env = {"PATH": os.environ["PATH"], "DATA_DIR": os.path.join(self.folder, "data"), "METRICS_LISTEN": "127.0.0.1:0",
                    "API_LISTEN": "127.0.0.1:0", **(env or {})}
        for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        os.makedirs(self.env["DATA_DIR"])
        if keys:
            self.env["API_KEYS_FILE"] = os.path.join(self.folder, "keys.txt")
            with open(self.env["API_KEYS_FILE"], "w", encoding="utf-8") as file:
                for name, options in keys.items():  # the text of a key is its name
                    file.write(f"{name}:{hashlib.sha256(name.encode()).hexdigest()} {options}\n")
        self.with_proxy = proxy

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # a test that takes too long stops what it has started, too
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            self.start_redis()
            self.env["REDIS_URL"] = f"unix://{self.socket}"
            if self.with_proxy:
                self.proxy = Proxy(self.socket)
                self.env["REDIS_URL"] = f"redis://127.0.0.1:{self.proxy.port}"
            return self
        except BaseException:
            self.close(False)
            raise

    def __exit__(self, kind, value, trace):
        self.close(kind is None)

    # ---- processes ----

    def spawn(self, name, arguments, **more):
        with open(os.path.join(self.folder, name + ".log"), "ab") as log:
            process = subprocess.Popen(arguments, env=self.env, stderr=log, **{"stdout": log, **more})
        self.processes.append(process)
        return process

    def log_of(self, name):
        with open(os.path.join(self.folder, name + ".log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def start_redis(self):
        self.redis = self.spawn("redis", ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.folder,
                                          "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"])
        self.wait(lambda: self.redis_call("PING") == b"+PONG\r\n", "redis-server")

    def redis_call(self, *words):
        """One command; the first bytes of its reply, b"" when there is none."""
        text = f"*{len(words)}\r\n" + "".join(f"${len(str(w).encode())}\r\n{w}\r\n" for w in words)
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(self.socket)
                s.sendall(text.encode())
                return s.recv(65536)
        except OSError:
            return b""

    def stop(self, process):
        process.kill()
        process.wait()
        self.processes.remove(process)

    def start_api(self):
        process = self.spawn("api", [os.path.join(self.bin, "rag-api")])

        def listens():
            found = re.findall(r"listens on [^\"]*\(port (\d+)\)", self.log_of("api"))
            if process.poll() is not None:
                raise RuntimeError(f"rag-api ended with {process.returncode}")
            self.port = int(found[-1]) if found else 0
            return self.port
        self.wait(listens, "rag-api")
        return process

    def start_worker(self):
        return self.spawn("worker", [os.path.join(self.bin, "rag-worker")])

    def start_chroma(self, program):
        """A Chroma server; what is started after it has its store there. Its port."""
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        self.env.update(STORE="chroma", CHROMA_PORT=str(port))
        self.spawn("chroma", [os.path.abspath(program), "run", "--path", os.path.join(self.folder, "chroma"), "--host", "127.0.0.1",
                              "--port", str(port)])

        def answers():
            conn = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                conn.request("GET", "/api/v2/heartbeat")
                return conn.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False
            finally:
                conn.close()
        self.wait(answers, "chroma")
        return port

    def wait(self, condition, what, seconds=None):
        """What the condition is when it is true."""
        seconds = seconds or PATIENCE_S
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                raise RuntimeError(f"{what}: not within {seconds} s")
            time.sleep(0.02)
        return value

    def close(self, well):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.proxy:
            self.proxy.close()
        if not well:
            for name in sorted(os.listdir(self.folder)):
                if name.endswith(".log"):
                    print(f"---- {name} (its end)\n{self.log_of(name[:-4])[-6000:]}")
        # a report of a sanitizer fails the test even where the answer looked right
        reports = [n for n in os.listdir(self.folder) if n.endswith(".log")
                   and re.search("AddressSanitizer|runtime error|ThreadSanitizer", self.log_of(n[:-4]))]
        if reports and well:
            print("\n".join(self.log_of(n[:-4])[-6000:] for n in reports))
        shutil.rmtree(self.folder, ignore_errors=True)
        if reports and well:
            raise RuntimeError(f"a sanitizer has reported in {reports}")

    # ---- HTTP ----

    def request(self, method, path, body=None, headers=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            conn.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                conn.putheader(name, value)
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            if body is not None:
                body = body.encode() if isinstance(body, str) else body
                conn.putheader("Content-Length", str(len(body)))
            conn.endheaders(body)
            answer = conn.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            conn.close()

    def ask(self, method, path, body=None, headers=None):
        """What a route under /api/v1 answers, as JSON; an error raises."""
        answer = self.request(method, "/api/v1" + path, body, headers)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:500]}")
        return json.loads(answer.body)

    def upload(self, lines, collection="default", query=""):
        """Begins an import; its record."""
        return self.ask("POST", f"/collections/{collection}/documents:import{query}", lines, NDJSON)

    def finished(self, job, seconds=None):
        """The record of a job when it is done."""
        def done():
            record = self.ask("GET", f"/jobs/{job['id']}")
            return record if record["done"] else None
        return self.wait(done, f"job {job['id']}", seconds)


class Proxy:
    """Between the API and Redis. While `garble` is set, the commands of connections that call themselves so are answered with an
    error that no retry mends."""

    GARBAGE = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

    def __init__(self, target):
        self.target, self.garble = target, None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        upstream = socket.socket(socket.AF_UNIX)
        try:
            upstream.connect(self.target)
            threading.Thread(target=self.pump, args=(upstream, client), daemon=True).start()
            self.forward(client, upstream)
        except (OSError, ValueError):
            pass
        for s in (client, upstream):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def forward(self, client, upstream):
        stream, name = client.makefile("rb"), None
        while head := stream.readline():
            raw, words = head, []
            for _ in range(int(head[1:])):
                size = stream.readline()
                word = stream.read(int(size[1:]) + 2)
                raw += size + word
                words.append(word[:-2])
            if [w.upper() for w in words[:2]] == [b"CLIENT", b"SETNAME"]:
                name = words[2].decode()
            if self.garble and name == self.garble and words[0].upper() not in (b"CLIENT", b"PING", b"HELLO"):
                client.sendall(self.GARBAGE)
            else:
                upstream.sendall(raw)
