"""Hooks of schemathesis, for what OpenAPI cannot say."""
import itertools
import json
import os
import re

import schemathesis

OF_RAW_DOCUMENTS = ("id", "title", "uri", "metadata", "run_at", "delay_s", "expires_in_s", "max_failures")
KEY = re.compile(r'^("[ !#-~]{1,255}"|[!#-~]([ !#-~]{0,253}[!#-~])?)$')
numbers = itertools.count(1)


pages = set()  # (list, token) of all answers so far


def is_later(values):
    return isinstance(values, dict) and ("run_at" in values or "delay_s" in values)


def list_of(case):
    """The path and the filters of a request for a page."""
    return case.formatted_path, tuple(sorted((k, str(v)) for k, v in (case.query or {}).items() if k not in ("page_token", "page_size")))


def narrow(value):
    """The same with whole numbers of at most 64 bits, as the contract says and JSON Schema cannot in one line."""
    if isinstance(value, dict):
        return {key: narrow(member) for key, member in value.items()}
    if isinstance(value, list):
        return [narrow(member) for member in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= 2**63:
        return 2**63 - 1 if value > 0 else -(2**63)
    return value


def mend(case, name):
    """Of a request that is valid by the schema: what makes it invalid nevertheless."""
    query, body = case.query or {}, case.body if isinstance(case.body, dict) else {}
    # A parameter cannot be tied to a media type: these belong to raw documents, of which a JSON body has its own members.
    if name == "submitDocument" and case.media_type == "application/json":
        for parameter in OF_RAW_DOCUMENTS:
            query.pop(parameter, None)
    # Two that exclude each other, null aside.
    for options in (query, body):
        if options.get("run_at") and options.get("delay_s"):
            del options["delay_s"]
    if isinstance(case.body, dict):
        case.body = narrow(case.body)
    if "metadata" in query:
        query["metadata"] = json.dumps(narrow(json.loads(query["metadata"]) if isinstance(query["metadata"], str) else query["metadata"]))
    # A manifest is text of a form of its own: one JSON object a line.
    if name == "diffDocuments":
        case.body = '{"id":"oil","content_hash":"' + "0" * 64 + '"}\n'
    # Only a stream can say how its events are called, and only a record what its version is.
    if name == "getJobEvents":
        query.pop("after", None)
    for header in ("Last-Event-ID", "If-Match"):
        (case.headers or {}).pop(header, None)
    # Only a list can say how its next page is called, and only for the same list.
    if (list_of(case), query.get("page_token")) not in pages:
        query.pop("page_token", None)


def bytes_of(value, otherwise):
    """A text as it is. A value of another type has none, so it becomes something that is as wrong."""
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else otherwise


@schemathesis.serializer("text/plain", "text/html", "text/markdown", "application/xml", "text/xml")
def as_text(ctx, value):
    """Documents of these types are texts: schemathesis would write XML around one of application/xhtml+xml, which is of the family of
    application/xml."""
    return bytes_of(value, b"")


@schemathesis.serializer("application/x-ndjson")
def as_lines(ctx, value):
    """No line at all is a manifest; a line that is no object is not."""
    return bytes_of(value, b"5" if ctx.case.operation.definition.raw.get("operationId") == "diffDocuments" else b"")


@schemathesis.hook
def before_call(ctx, case, kwargs):
    name = case.operation.definition.raw.get("operationId")
    headers = case.headers or {}
    # With raw=true any JSON is a document; whether a description of one is valid would no longer matter.
    if name == "submitDocument" and case.media_type == "application/json" and str((case.query or {}).get("raw")).lower() == "true":
        del case.query["raw"]
    if case.meta and case.meta.generation.mode.is_positive:
        mend(case, name)
    # One key under two requests is 422 on purpose, also of two runs against one server. (tests/it has requests that repeat one.)
    if KEY.match(str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = f"key-{os.getpid()}-{next(numbers)}"
    # To wait for a job that is not to start yet only costs time.
    if is_later(case.query) or is_later(case.body):
        headers.pop("Prefer", None)


@schemathesis.hook
def after_call(ctx, case, response):
    if response.status_code == 200 and "json" in str(response.headers.get("content-type")):
        body = response.json()
        if isinstance(body, dict) and body.get("next_page_token"):
            pages.add((list_of(case), body["next_page_token"]))
