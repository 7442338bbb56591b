#!/usr/bin/env python3
"""provider.py: one scripted server for every format of a model provider: Gemini, OpenAI and servers like it (vLLM, Ollama, llama.cpp, TEI),
Cohere, Jina. It validates requests strictly, answers what makes sense (words.py), keeps limits (limits.py), and fails as it is told
(faults.py). Python's own library only; HTTP/1.1 with connections that stay, on 127.0.0.1.

    provider.py [--port 0] [--control-port 0]      prints "provider listens on 127.0.0.1:PORT control CONTROL" and serves until killed

Base URLs: http://127.0.0.1:PORT/gemini/v1beta, /openai/v1, /vllm/v1, /ollama/v1, /llamacpp/v1, /tei, /tei/v1, /cohere, /jina; without the
first part /v1beta is gemini's, /v1 openai's, /v2 cohere's. Keys: any that does not begin with "bad"; gemini, openai and cohere want one.

Control, on both ports (the control port is there while the other one is down); bodies and answers are JSON:
    POST /fake/config   {"<dialect>": {...}, "limits": [rows of limits.py], "window_s": 60, "latency_ms": 0, "input_ms": 0}: merged.
                        Of a dialect: needs_key key max_batch max_input_tokens token_batch refuse [fields answered with 400] models [names]
                        dim answer (a text instead of the quotation) usage (false: left out) encoding (openai: float base64 mixed asked)
                        shuffle done errors reasoning list_key score_key scores sorted batch_missing wrap_errors normalise piece_ms
                        cut_writes (true: writes of a few bytes) sse {crlf no_space comments bom thoughts}
    POST /fake/faults   a row or a list: {"route": "gemini.*", "fault": one of faults.py, "times": 0 (always), "after": 0 (spared first),
                        "every": 1, "match": text of the request, "delay_ms", and of some: status ms hint message code param bytes pieces}
    DELETE /fake/faults;  GET /fake/faults
    GET /fake/stats?route=gemini.*       requests inputs tokens ok ok_inputs statuses faults, of each route too; connections, max_in_flight
    GET /fake/window?route=*&window_s=60&what=requests|inputs|tokens     the most in any such window; total; when each came
    GET /fake/requests?route=*&last=10   what was asked: route, status, fault, connection, method, path, headers, body
    POST /fake/down {"ms": 0}   the port refuses connections (0: until up), connections that are open are cut;  POST /fake/up
    POST /fake/reset    faults, limits, settings, and what was seen, as at the start

Routes: gemini.embed batch_embed generate stream count_tokens models; openai (vllm, ollama) .embeddings chat stream models; llamacpp the
same and rerank health; tei.embed rerank info health embeddings; cohere.embed rerank; jina.rerank embeddings.
"""
import argparse
import json
import os
import socket
import struct
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import faults  # noqa: E402
import formats  # noqa: E402
import limits  # noqa: E402

MAX_HEAD = 65536
SHORT = (("/v1beta", "gemini"), ("/v1", "openai"), ("/v2", "cohere"), ("/embed", "tei"), ("/rerank", "tei"), ("/info", "tei"))
EXCERPT = 4096
KEEP_BODIES = 200  # of the last requests; counters are kept of all


class Gone(Exception):
    """The client has closed, or is to be cut."""


class Request:
    def __init__(self, method, target, headers, body, number):
        self.method, self.headers, self.body, self.connection = method, headers, body, number
        self.path, _, self.query = target.partition("?")

    def asked(self, name, default):
        return urllib.parse.parse_qs(self.query).get(name, [default])[0]


class Listener:
    """A port that can refuse: the number stays ours while nobody listens, by a second socket that is bound to it and never listens."""

    def __init__(self, port, serve):
        self.serve, self.lock, self.open = serve, threading.Lock(), set()
        self.holder = self.bound(port)
        self.port = self.holder.getsockname()[1]
        self.socket, self.number = None, 0
        self.up()

    @staticmethod
    def bound(port):
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", port))
        return made

    def up(self):
        with self.lock:
            if self.socket:
                return
            self.socket = self.bound(self.port)
            self.socket.listen(512)
        threading.Thread(target=self.accept, args=(self.socket,), daemon=True).start()

    def down(self):
        with self.lock:
            listener, self.socket = self.socket, None
            cut = list(self.open)
        if listener:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            listener.close()
        for connection in cut:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.open.add(connection)
                self.number += 1
                number = self.number
            threading.Thread(target=self.run, args=(connection, number), daemon=True).start()

    def run(self, connection, number):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.serve(connection, number)
        except (OSError, Gone, ValueError):
            pass
        with self.lock:
            self.open.discard(connection)
        connection.close()


def read_request(connection, file, number, early):
    """None at the end of the connection. early(request without a body) may answer before the body is read: Gone."""
    line = file.readline(MAX_HEAD)
    if not line:
        return None
    method, target, _ = line.decode("latin-1").split()
    headers = {}
    while (line := file.readline(MAX_HEAD).decode("latin-1").rstrip("\r\n")):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    early(Request(method, target, headers, b"", number))
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while (size := int(file.readline(MAX_HEAD).split(b";")[0], 16)):
            body += file.read(size)
            file.readline(MAX_HEAD)
        file.readline(MAX_HEAD)
    else:
        length = int(headers.get("content-length", "0"))
        body = file.read(length)
        if len(body) < length:
            return None
    return Request(method, target, headers, body, number)


class Provider:
    def __init__(self, port, control_port):
        self.seen, self.rules = limits.Seen(), faults.Rules()
        self.lock = threading.Lock()
        self.reset()
        self.control = Listener(control_port, self.serve)
        self.data = Listener(port, self.serve_data)
        self.timer = None

    def reset(self):
        with self.lock:
            self.dialects = formats.dialects()
            self.limits, self.window_s, self.latency_s, self.input_s = [], 60.0, 0.0, 0.0
        self.rules.clear()
        self.seen.clear()

    # ---- connections ----

    def serve_data(self, connection, number):
        with self.seen.lock:
            self.seen.connections += 1
        self.serve(connection, number)

    def serve(self, connection, number):
        file = connection.makefile("rb", 1 << 16)

        def early(request):
            self.refuse_early(connection, request)
        while (request := read_request(connection, file, number, early)):
            if request.path.startswith("/fake/"):
                reply, plan = self.answer_control(request), faults.Plan()
            else:
                try:
                    self.answer(connection, request)
                finally:
                    self.seen.leave()
                continue
            send(connection, reply, plan)

    def answer(self, connection, request):
        """Every request that is no control is a row of what was seen, whatever becomes of it."""
        row = self.seen.arrive("unknown", 0, 0, request.connection, request)
        reply, plan, config, leave = self.decide(connection, request, row)
        row[limits.Seen.STATUS] = reply.status
        try:
            send(connection, reply, plan, config)
        finally:
            leave()
        forget(self.seen)

    def refuse_early(self, connection, request):
        """A body that is too big is refused before it is read, and the connection closed while the client still sends."""
        _, dialect, path = self.locate(request)
        limit = dialect.config.get("max_bytes") if dialect else None
        if not limit or int(request.headers.get("content-length", "0")) <= limit:
            return
        try:
            route = dialect.name + "." + dialect.find(request.method, path)[0]
        except formats.Refuse:
            return
        row = self.seen.arrive(route, 0, 0, request.connection, request)
        row[limits.Seen.STATUS] = 413
        self.seen.leave()
        connection.sendall(b"HTTP/1.1 413 Payload Too Large\r\nContent-Type: text/plain\r\nContent-Length: 33\r\nConnection: close\r\n\r\n"
                           b"length limit exceeded: 2000000 B\n")
        raise Gone

    # ---- what to answer ----

    def locate(self, request):
        first, _, rest = request.path[1:].partition("/")
        if first in self.dialects:
            return first, self.dialects[first], "/" + rest
        for begin, name in SHORT:
            if request.path.startswith(begin):
                return name, self.dialects[name], request.path
        return "unknown", None, request.path

    def decide(self, connection, request, row):
        """(reply, plan, config, what to call when it has been sent)."""
        name, dialect, path = self.locate(request)
        nothing = (lambda: None)
        if not dialect:
            return formats.Reply(404, b""), faults.Plan(), {}, nothing
        route = name
        try:
            call_name, match = dialect.find(request.method, path)
            route = row[limits.Seen.ROUTE] = f"{name}.{call_name}"
            call = self.understand(dialect, call_name, match, request)
            route = row[limits.Seen.ROUTE] = f"{name}.{call.route}"
        except formats.Refuse as refused:
            refused.more.setdefault("route", route.rpartition(".")[2])
            return dialect.error(refused), faults.Plan(), dialect.config, nothing
        row[limits.Seen.INPUTS], row[limits.Seen.TOKENS] = len(call.texts), call.tokens
        rule = self.rules.take(route, request.body.decode("utf-8", "replace"))
        if rule:
            row[limits.Seen.FAULT] = rule["fault"]
            reply = self.fail_before(connection, rule, dialect, call.route)
            if reply:
                return reply, faults.Plan(), dialect.config, nothing
        return self.succeed(call, rule, dialect, route, row)

    def succeed(self, call, rule, dialect, route, row):
        refusal, limit = self.enter(route, row)
        if refusal:
            return dialect.limited(*refusal), faults.Plan(), dialect.config, (lambda: None)
        time.sleep(self.latency_s + self.input_s * len(call.texts))
        call.answer(dialect.config)
        if rule:
            faults.inside(rule, call)
        reply = dialect.render(call)
        reply.headers.update(dialect.headers_of_success(limit.remaining() if limit else None))
        reply, plan = faults.sending(rule, reply, dialect) if rule else (reply, faults.Plan())

        def leave():
            if limit:
                with self.lock:
                    limit.in_flight -= 1
        return reply, plan, dialect.config, leave

    @staticmethod
    def understand(dialect, call_name, match, request):
        dialect.check_key(request.headers)
        try:
            body = json.loads(request.body.decode("utf-8"), parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name))) \
                if request.body else None
        except ValueError as error:
            raise dialect.refuse(f"Invalid JSON payload received. {error}") from error
        if request.method == "POST" and "application/json" not in request.headers.get("content-type", ""):
            raise formats.Refuse(415, "Unsupported Media Type: expected application/json")
        return dialect.parse(call_name, match, body, request.query)

    def fail_before(self, connection, rule, dialect, route):
        time.sleep((rule.get("delay_ms", 0) + (rule.get("ms", 1000) if rule["fault"] == "delay" else 0)) / 1000.0)
        if rule["fault"] == "hang":
            wait_closed(connection, rule.get("ms", 3600000) / 1000.0)
            raise Gone
        if rule["fault"] == "close":
            raise Gone
        if rule["fault"] == "reset":
            reset(connection)
        return faults.before(rule, dialect, route)

    def enter(self, route, row):
        """((kind, wait_s) or None, the limit that holds for the route or None)."""
        with self.lock:
            for limit in self.limits:
                if limits.fnmatch.fnmatch(route, limit.row.get("route", "*")):
                    amounts = {"requests": 1, "inputs": row[limits.Seen.INPUTS], "tokens": row[limits.Seen.TOKENS]}
                    return limit.enter(amounts, time.monotonic()), limit
        return None, None

    # ---- control ----

    def answer_control(self, request):
        try:
            body = json.loads(request.body) if request.body else {}
            answer = self.run_control(request.method, request.path[len("/fake/"):], body, request)
        except (ValueError, KeyError, TypeError) as error:
            return formats.Reply(400, formats.dump({"error": repr(error)}))
        return formats.Reply(404 if answer is None else 200, formats.dump(answer))

    def run_control(self, method, name, body, request):
        route = request.asked("route", "*")
        if (method, name) == ("POST", "config"):
            return self.configure(body)
        if (method, name) == ("POST", "faults"):
            self.rules.add(body if isinstance(body, list) else [body])
            return {}
        if (method, name) == ("DELETE", "faults"):
            self.rules.clear()
            return {}
        if (method, name) == ("GET", "faults"):
            return {"faults": self.rules.list()}
        if (method, name) == ("GET", "stats"):
            return self.seen.stats(route)
        if (method, name) == ("GET", "window"):
            return self.seen.window(route, float(request.asked("window_s", "60")), request.asked("what", "requests"))
        if (method, name) == ("GET", "requests"):
            return {"requests": self.last_requests(route, int(request.asked("last", "10")))}
        if (method, name) == ("POST", "reset"):
            self.reset()
            self.data.up()
            return {}
        if (method, name) in (("POST", "down"), ("POST", "up")):
            self.turn(name, float(body.get("ms", 0)))
            return {}
        return None

    def turn(self, where, ms):
        if self.timer:
            self.timer.cancel()
        if where == "up":
            self.data.up()
            return
        self.data.down()
        if ms > 0:
            self.timer = threading.Timer(ms / 1000.0, self.data.up)
            self.timer.daemon = True
            self.timer.start()

    def configure(self, body):
        with self.lock:
            for name, value in body.items():
                if name == "limits":
                    self.limits = [limits.Limit(row, self.window_s) for row in value]
                elif name == "window_s":
                    self.window_s = float(value)
                    self.limits = [limits.Limit(limit.row, self.window_s) for limit in self.limits]
                elif name in ("latency_ms", "input_ms"):
                    setattr(self, name.replace("_ms", "_s"), value / 1000.0)
                else:
                    unknown = [key for key in value if key not in self.dialects[name].config and key != "max_bytes"]
                    if unknown:
                        raise ValueError(f"no such setting of {name}: {unknown}")
                    self.dialects[name].config.update(value)
        return {}

    def last_requests(self, pattern, count):
        with self.seen.lock:
            rows = [r for r in self.seen.rows if limits.fnmatch.fnmatch(r[limits.Seen.ROUTE], pattern)][-count:]
        return [{"route": r[1], "inputs": r[2], "tokens": r[3], "status": r[4], "fault": r[5], "connection": r[6],
                 **({"method": r[7].method, "path": r[7].path, "query": r[7].query, "headers": r[7].headers,
                     "body": r[7].body.decode("utf-8", "replace")} if r[7] else {})} for r in rows]


def forget(seen):
    with seen.lock:
        if len(seen.rows) > KEEP_BODIES:
            seen.rows[-KEEP_BODIES - 1][7] = None


# ---- sending ----

def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Gone


def wait_closed(connection, seconds):
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass


def send(connection, reply, plan, config=None):
    reason = {200: "OK", 302: "Found", 400: "Bad Request", 429: "Too Many Requests", 500: "Internal Server Error"}.get(reply.status, "Status")
    chunked = reply.events is not None or plan.tail is not None
    head = [f"HTTP/1.1 {reply.status} {reason}", f"Content-Type: {reply.content_type}",
            "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(reply.body)}"]
    head += [f"{name}: {value}" for name, value in reply.headers.items()]
    connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
    if chunked:
        send_chunks(connection, reply, plan, config or {})
    else:
        write(connection, reply.body[:plan.until] if plan.end else reply.body, plan)
        finish(connection, plan)


def finish(connection, plan):
    if plan.end == faults.RESET:
        reset(connection)
    if plan.end == faults.CUT:
        raise Gone


def write(connection, data, plan):
    if not plan.drip_s:
        connection.sendall(data)
        return
    for at in range(0, len(data), plan.drip_bytes):
        connection.sendall(data[at:at + plan.drip_bytes])
        time.sleep(plan.drip_s)


def send_chunks(connection, reply, plan, config):
    pieces = reply.events if reply.events is not None else [reply.body]
    stop = plan.until if plan.until is not None else len(pieces)
    for piece in pieces[:stop]:
        write_chunk(connection, piece, plan, config.get("cut_writes"))
        if config.get("piece_ms"):
            time.sleep(config["piece_ms"] / 1000.0)
    if plan.stall_s:
        wait_closed(connection, plan.stall_s)
        raise Gone
    finish(connection, plan)
    while plan.tail is not None:
        for piece in plan.tail:
            write_chunk(connection, piece, plan, False)
        time.sleep(0.001)
    connection.sendall(b"0\r\n\r\n")


def write_chunk(connection, piece, plan, cut_writes):
    """cut_writes: three bytes a chunk, so that borders fall into lines, names and characters."""
    step = 3 if cut_writes else max(1, len(piece))
    for at in range(0, len(piece), step):
        part = piece[at:at + step]
        write(connection, b"%x\r\n%s\r\n" % (len(part), part), plan)


def main():
    parser = argparse.ArgumentParser(description="a scripted server for the formats of model providers")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    args = parser.parse_args()
    threading.stack_size(512 << 10)
    provider = Provider(args.port, args.control_port)
    print(f"provider listens on 127.0.0.1:{provider.data.port} control {provider.control.port}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
