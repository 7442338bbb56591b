"""An OpenAPI document as a judge of answers: is the status documented, are the headers, the media type and the body what it says?

Objects are judged strictly: a member that the contract does not name is a fault, though clients are told to expect new ones.
"""
import json

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

METHODS = ("get", "post", "put", "patch", "delete")
# of HTTP itself, on any answer
PLAIN_HEADERS = {"date", "content-length", "content-type", "connection", "allow", "transfer-encoding"}


def events_of(text):
    """The events of a stream, as objects; `data` stays text. Comments and `retry` are not events."""
    for block in text.replace("\r\n", "\n").split("\n\n"):
        event = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name in ("id", "event", "data"):
                value = value.removeprefix(" ")
                event[name] = f"{event[name]}\n{value}" if name in event and name == "data" else value
        if event:
            yield event


class Contract:
    def __init__(self, document):
        self.document = document
        self.operations = {}  # operationId -> (method, path, operation)
        for path, item in document["paths"].items():
            for method in METHODS:
                if method in item:
                    self.operations[item[method]["operationId"]] = (method.upper(), path, item[method])
        strict = self.close(json.loads(json.dumps(document)))
        self.registry = Registry().with_resource("urn:contract", Resource(contents=strict, specification=DRAFT202012))

    def close(self, value):
        if isinstance(value, dict):
            for key, member in value.items():
                if key != "allOf":
                    self.close(member)
            if value.get("properties") and (value.get("type") == "object" or "object" in value.get("type", ())):
                value.setdefault("additionalProperties", False)
        elif isinstance(value, list):
            for member in value:
                self.close(member)
        return value

    def resolve(self, value):
        while "$ref" in value:
            target = self.document
            for token in value["$ref"].removeprefix("#/").split("/"):
                target = target[token.replace("~1", "/").replace("~0", "~")]
            value = target
        return value

    def documented(self):
        return {(name, int(status)) for name, (_, _, operation) in self.operations.items() for status in operation["responses"]}

    def parameters(self, name):
        _, path, operation = self.operations[name]
        both = self.document["paths"][path].get("parameters", []) + operation.get("parameters", [])
        return [self.resolve(parameter) for parameter in both]

    def faults_of(self, value, schema):
        rooted = json.loads(json.dumps(schema).replace('"$ref": "#/', '"$ref": "urn:contract#/'))
        validator = jsonschema.Draft202012Validator(self.close(rooted) if "$ref" not in rooted else rooted, registry=self.registry,
                                                    format_checker=jsonschema.FormatChecker())
        return [f"{'/'.join(map(str, f.absolute_path))}: {f.message[:300]}" for f in validator.iter_errors(value)]

    def judge(self, name, answer):
        """The faults of an answer to this operation."""
        responses = self.operations[name][2]["responses"]
        if str(answer.status) not in responses:
            return [f"status {answer.status} is not documented: {answer.body[:300]!r}"]
        response = self.resolve(responses[str(answer.status)])
        return self.judge_headers(response, answer.headers) + self.judge_body(response, answer)

    def judge_headers(self, response, headers):
        faults, known = [], set(PLAIN_HEADERS)
        for name, header in response.get("headers", {}).items():
            header, value = self.resolve(header), headers.get(name.lower())
            known.add(name.lower())
            if value is None:
                if header.get("required"):
                    faults.append(f"header {name} is missing")
                continue
            if header["schema"].get("type") == "integer":
                value = int(value) if value.lstrip("-").isdigit() else value
            faults += [f"header {name}{fault}" for fault in self.faults_of(value, header["schema"])]
        return faults + [f"header {name} is not documented" for name in headers if name not in known]

    def judge_event(self, event, schema):
        data = {"$ref": f"#/components/schemas/Event{event.get('event', '').capitalize()}"}
        return self.faults_of(event, schema) or [f"event {event['event']}: {fault}" for fault in self.faults_of(json.loads(event["data"]), data)]

    def judge_body(self, response, answer):
        content = response.get("content")
        if not content:
            return [f"a body of {len(answer.body)} bytes where none is documented"] if answer.body else []
        kind = answer.headers.get("content-type", "").split(";")[0]
        if kind not in content:
            return [f"media type '{kind}' is not documented"]
        if kind == "text/event-stream":  # the schema is of one event
            return [fault for event in events_of(answer.body.decode()) for fault in self.judge_event(event, content[kind]["schema"])]
        if not kind.endswith("json"):
            return []
        try:
            value = json.loads(answer.body)
        except ValueError as fault:
            return [f"the body is not JSON: {fault}"]
        return self.faults_of(value, content[kind]["schema"])
