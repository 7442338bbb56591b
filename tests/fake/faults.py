"""Faults: rows that say which request gets what. Each name below is one; provider.py's head tells how a row is given.

Before an answer is made:  delay hang close reset status html html_ok empty not_json redirect limit quota batch_too_large input_too_long
In what is answered:       wrong_count extra_count wrong_order bad_index duplicate_index nan inf null_number string_number wrong_dim mixed_dim
                           zero_vector broken_utf8 blocked safety length length_empty unknown_finish no_text
While it is sent:          cut drip endless stream_error stream_cut stream_end stream_reset stream_stall trailing_garbage huge
"""
import fnmatch
import threading

import formats

CUT, RESET = "cut", "reset"


class Plan:
    """How an answer is sent: byte by byte each drip_s, only `until` bytes of it and then cut or reset, or with a tail without end."""

    def __init__(self):
        self.drip_s, self.drip_bytes, self.until, self.end, self.tail, self.stall_s = 0.0, 1, None, None, None, 0.0


class Rules:
    def __init__(self):
        self.lock, self.rows = threading.Lock(), []

    def clear(self):
        with self.lock:
            self.rows = []

    def add(self, rows):
        with self.lock:
            for row in rows:
                if row["fault"] not in KNOWN:
                    raise ValueError(f"no such fault: {row['fault']}")
                self.rows.append({"route": "*", **row, "seen": 0, "used": 0})

    def take(self, route, text):
        """The first row that is for this request and not used up; None = none."""
        with self.lock:
            for row in self.rows:
                if not fnmatch.fnmatch(route, row["route"]) or row.get("match", "") not in text:
                    continue
                if row.get("times", 0) and row["used"] >= row["times"]:
                    continue
                row["seen"] += 1
                if row["seen"] <= row.get("after", 0) or (row["seen"] - row.get("after", 0) - 1) % row.get("every", 1):
                    continue
                row["used"] += 1
                return row
        return None

    def list(self):
        with self.lock:
            return [dict(row) for row in self.rows]


HTML = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1><p>nginx</p></body></html>\n"


def before(row, dialect, route):
    """The Reply that stands for the answer, or None when the fault comes later."""
    fault, wait_s = row["fault"], row.get("ms", 1000) / 1000.0
    if fault == "status":
        refused = formats.Refuse(row["status"], row.get("message", f"scripted failure {row['status']}"), row.get("code", "server_error"),
                                 row.get("param"), route=route)
        reply = dialect.error(refused)
        reply.headers.update(formats.hint_headers(row.get("hint"), wait_s))
        return reply
    if fault == "html":
        return formats.Reply(row.get("status", 502), HTML, content_type="text/html")
    if fault == "html_ok":
        return formats.Reply(200, HTML, content_type="text/html")
    if fault == "empty":
        return formats.Reply(200, b"")
    if fault == "not_json":
        return formats.Reply(200, b'{"embeddings": [')
    if fault == "redirect":
        return formats.Reply(302, b"", headers={"Location": "/elsewhere"})
    if fault == "limit":
        return dialect.limited("minute", wait_s, row.get("hint"))
    if fault == "quota":
        return dialect.limited(formats.DAY, 3600.0, row.get("hint"))
    if fault == "batch_too_large":
        return dialect.error(formats.Refuse(row.get("status", 413), f"batch size is too large: at most {row.get('limit', 2)} is allowed", "Validation", route=route))
    if fault == "input_too_long":
        return dialect.error(formats.Refuse(row.get("status", 400), f"This model's maximum context length is {row.get('limit', 40)} tokens, however "
                                            "you requested 50 tokens.", "context_length_exceeded", route=route))
    return None


def spoil_number(text):
    def spoil(call):
        call.vectors[-1:] = [[text, *vector[1:]] for vector in call.vectors[-1:]]
        call.results[-1:] = [(i, float("nan") if text == "NaN" else None if text == "null" else s) for i, s in call.results[-1:]]
    return spoil


def wrong_count(call):
    call.vectors, call.indices, call.results = call.vectors[:-1], call.indices[:-1], call.results[:-1]


def extra_count(call):
    call.vectors, call.indices = call.vectors + call.vectors[:1], call.indices + [len(call.indices)]
    call.results = call.results + [(len(call.texts), 0.5)]


def wrong_order(call):
    """With an index to each, as OpenAI may: to be put right by it."""
    call.vectors, call.indices, call.results = call.vectors[::-1], call.indices[::-1], call.results[::-1]


def bad_index(call):
    call.indices[-1:] = [len(call.texts) + 7]
    call.results[-1:] = [(len(call.texts) + 7, s) for _, s in call.results[-1:]]


def duplicate_index(call):
    call.indices[-1:] = call.indices[:1]
    call.results = call.results + call.results[:1]


def wrong_dim(call):
    call.vectors = [v + ["0.5"] for v in call.vectors]


def mixed_dim(call):
    call.vectors[-1:] = [v + ["0.5"] for v in call.vectors[-1:]]


def zero_vector(call):
    call.vectors[-1:] = [["0.0"] * len(v) for v in call.vectors[-1:]]


def finish(word, text=None, no_parts=False, blocked=False):
    def change(call):
        call.finish, call.no_parts = word, no_parts
        call.blocked = "SAFETY" if blocked else None
        if text is not None:
            call.text = text
    return change


def half_text(word):
    def change(call):
        call.text, call.finish = call.text[:len(call.text) // 2], word
    return change


INSIDE = {"wrong_count": wrong_count, "extra_count": extra_count, "wrong_order": wrong_order, "bad_index": bad_index,
          "duplicate_index": duplicate_index, "nan": spoil_number("NaN"), "inf": spoil_number("1e999"), "null_number": spoil_number("null"),
          "string_number": spoil_number('"x"'), "wrong_dim": wrong_dim, "mixed_dim": mixed_dim, "zero_vector": zero_vector,
          "blocked": finish("content_filter", "", False, True), "safety": finish("SAFETY", ""), "length": half_text("length"),
          "length_empty": finish("length", "", True), "unknown_finish": finish("BRAND_NEW"), "no_text": finish("stop", "", True)}
BEFORE = {"delay", "hang", "close", "reset", "status", "html", "html_ok", "empty", "not_json", "redirect", "limit", "quota",
          "batch_too_large", "input_too_long"}
SENT = {"cut", "drip", "endless", "stream_error", "stream_cut", "stream_end", "stream_reset", "stream_stall", "trailing_garbage", "huge",
        "broken_utf8"}
KNOWN = {*INSIDE, *BEFORE, *SENT}


def inside(row, call):
    change = INSIDE.get(row["fault"])
    if change:
        change(call)


def endless_of(reply):
    """What comes for ever after a beginning that looked well."""
    if reply.events:
        return reply.events[:1] * 8
    return [b"0.1234567," * 512]


def sending(row, reply, dialect):
    """(reply, plan): what the wire does to the answer."""
    plan, fault = Plan(), row["fault"]
    pieces = row.get("pieces", 2)  # events of a stream that come before it goes wrong
    if fault == "cut":
        plan.end, plan.until = CUT, max(1, len(reply.body) // 2) if reply.events is None else pieces
    elif fault == "drip":
        plan.drip_s, plan.drip_bytes = row.get("ms", 100) / 1000.0, row.get("bytes", 1)
    elif fault == "endless":
        plan.tail = endless_of(reply)
        reply.body = reply.body[:max(1, reply.body.find(b"[") + 1)]
        reply.events = reply.events[:-1] if reply.events else reply.events
    elif fault == "trailing_garbage":
        reply.body += b" and more"
        reply.events = reply.events + [b"data: and more\n\n"] if reply.events is not None else None
    elif fault == "huge":
        reply.body = b'{"padding":"' + b"x" * row.get("bytes", 64 << 20) + b'"}'
        reply.events = [b"data: " + reply.body + b"\n\n"] if reply.events is not None else None
    elif fault == "broken_utf8":
        break_utf8(reply)
    elif reply.events is not None:
        break_stream(fault, row, reply, plan, dialect, pieces)
    return reply, plan


def break_utf8(reply):
    """A byte that no UTF-8 has, within a text or, where there is none, a name."""
    def spoil(data):
        for mark in (b'"text":"', b'"content":"', b'"id":"', b'"object":"', b'"values', b'"index', b'"'):
            at = data.find(mark)
            if at >= 0:
                return data[:at + len(mark)] + b"\xff\xc3" + data[at + len(mark):]
        return b"\xff" + data
    reply.body = spoil(reply.body)
    if reply.events:
        last = len(reply.events) // 2
        reply.events = [*reply.events[:last], spoil(reply.events[last]), *reply.events[last + 1:]]


def break_stream(fault, row, reply, plan, dialect, pieces):
    if fault == "stream_error":
        refused = formats.Refuse(row.get("status", 503), row.get("message", "The model is overloaded. Please try again later."), "server_error")
        reply.events = [*reply.events[:pieces], b"data: " + formats.dump(dialect.error_object(refused)) + b"\n\n"]
    elif fault == "stream_end":  # the body ends well, its mark is missing
        reply.events = reply.events[:pieces]
    elif fault in ("stream_cut", "stream_reset"):
        plan.until, plan.end = pieces, CUT if fault == "stream_cut" else RESET
    elif fault == "stream_stall":
        plan.until, plan.stall_s = pieces, row.get("ms", 3600000) / 1000.0
