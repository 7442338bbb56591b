#!/usr/bin/env python3
"""openapi.py FILE: is the contract valid OpenAPI, and is every example an example of its schema?

With --selftest it is shown to fail: the file is damaged in several ways, each of which must be found.
"""
import copy
import json
import sys

import jsonschema
import openapi_spec_validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


def unescape(token):
    return token.replace("~1", "/").replace("~0", "~")


def resolve(document, value):
    while isinstance(value, dict) and "$ref" in value:
        target = document
        for token in value["$ref"].removeprefix("#/").split("/"):
            target = target[unescape(token)]
        value = target
    return value


def examples(document):
    """Every (place, schema, example) of schemas, parameters and bodies."""
    def walk(place, value):
        if isinstance(value, dict):
            if isinstance(value.get("schema"), dict) and "example" in value:
                yield place, value["schema"], value["example"]
            if isinstance(value.get("examples"), list):
                for example in value["examples"]:
                    yield place, value, example
            for key, member in value.items():
                if key not in ("example", "examples"):
                    yield from walk(f"{place}/{key}", member)
        elif isinstance(value, list):
            for index, member in enumerate(value):
                yield from walk(f"{place}/{index}", member)
    yield from walk("", document)


def check(document):
    """The faults, as lines."""
    try:
        openapi_spec_validator.validate(document)
    except Exception as fault:  # the validator's own, and those of references that lead nowhere
        return [f"not valid OpenAPI: {str(fault).splitlines()[0][:200]}"]
    registry = Registry().with_resource("urn:contract", Resource(contents=document, specification=DRAFT202012))
    faults = []
    for place, schema, example in examples(document):
        rooted = json.loads(json.dumps(schema).replace('"$ref": "#/', '"$ref": "urn:contract#/'))
        validator = jsonschema.Draft202012Validator(rooted, registry=registry, format_checker=jsonschema.FormatChecker())
        faults += [f"{place}: the example is none: {fault.message[:200]}" for fault in validator.iter_errors(example)]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            for status, answer in operation["responses"].items():
                answer = resolve(document, answer)
                for kind, media in answer.get("content", {}).items():
                    if kind == "application/json" and "example" not in media and path != "/openapi.json":
                        faults.append(f"{method} {path}: answer {status} has no example")
    return faults


def selftest(document):
    def no_title(d):
        del d["info"]["title"]

    def bad_reference(d):
        d["components"]["schemas"]["Job"]["properties"]["status"] = {"$ref": "#/components/schemas/Nothing"}

    def missing_path_parameter(d):
        d["paths"]["/api/v1/jobs/{id}"]["parameters"] = []

    def bad_type(d):
        d["components"]["schemas"]["Job"]["properties"]["version"]["type"] = "number of turns"

    def bad_example(d):
        d["components"]["schemas"]["DocumentBody"]["examples"] = [{"text": 5}]

    def no_example(d):
        del d["components"]["responses"]["JobAccepted"]["content"]["application/json"]["example"]

    missed = 0
    for damage in (no_title, bad_reference, missing_path_parameter, bad_type, bad_example, no_example):
        damaged = copy.deepcopy(document)
        damage(damaged)
        found = check(damaged)
        print(f"{damage.__name__}: {found[0] if found else 'NOT FOUND'}")
        missed += not found
    return missed


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    if "--selftest" in sys.argv:
        return 1 if selftest(document) else 0
    faults = check(document)
    for fault in faults:
        print(f"{sys.argv[1]}: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
