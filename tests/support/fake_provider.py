"""tests/fake/provider.py for tests and benchmarks in Python: with FakeProvider() as fake: fake.url("gemini"), fake.fail(...), ..."""
import http.client
import json
import os
import re
import subprocess
import sys
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = {"gemini": "/gemini/v1beta", "openai": "/openai/v1", "vllm": "/vllm/v1", "ollama": "/ollama/v1", "llamacpp": "/llamacpp/v1",
        "tei": "/tei", "cohere": "/cohere", "jina": "/jina"}


class FakeProvider:
    """Everything that can be set or asked is at the head of tests/fake/provider.py."""

    def __enter__(self):
        program = os.path.join(HERE, "..", "fake", "provider.py")
        self.process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)
        found = re.match(r"provider listens on 127.0.0.1:(\d+) control (\d+)", self.process.stdout.readline())
        if not found:
            self.process.kill()
            self.process.wait()
            raise RuntimeError("the fake provider did not start")
        self.port, self.control_port = map(int, found.groups())
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def url(self, dialect):
        """The base URL to give to the engine."""
        return f"http://127.0.0.1:{self.port}{BASE[dialect]}"

    def control(self, method, path, body=None, **query):
        connection = http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=60)
        try:
            path += "?" + urllib.parse.urlencode(query) if query else ""
            connection.request(method, "/fake/" + path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            data = json.loads(answer.read())
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {data}")
            return data
        finally:
            connection.close()

    def config(self, **settings):
        self.control("POST", "config", settings)

    def fail(self, fault, route="*", **more):
        self.control("POST", "faults", {"fault": fault, "route": route, **more})

    def heal(self):
        self.control("DELETE", "faults")

    def stats(self, route="*"):
        return self.control("GET", "stats", route=route)

    def window(self, route="*", window_s=60, what="requests"):
        return self.control("GET", "window", route=route, window_s=window_s, what=what)

    def requests(self, route="*", last=10):
        return self.control("GET", "requests", route=route, last=last)["requests"]

    def down(self, ms=0):
        self.control("POST", "down", {"ms": ms})

    def up(self):
        self.control("POST", "up")

    def reset(self):
        self.control("POST", "reset")
