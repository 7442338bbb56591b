#!/usr/bin/env python3
"""The fake provider itself: it answers each format, refuses what it should, keeps limits and fails as told. A fake that is wrong makes
tests that prove nothing."""
import array
import base64
import http.client
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from fake_provider import BASE, FakeProvider  # noqa: E402

PROMPT = "Sources:\n[1] Tea is made of leaves. Water is hot.\n[2] A lease is renewed by its holder.\n\nQuestion: Who renews a lease?"
EMBED = {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "lease"}]}, "taskType": "RETRIEVAL_QUERY",
         "outputDimensionality": 256}
CHAT = {"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": PROMPT}]}


def vector(data):
    return list(array.array("f", base64.b64decode(data))) if isinstance(data, str) else data


class Fake(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fake = FakeProvider().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.fake.__exit__()

    def setUp(self):
        self.fake.reset()

    def ask(self, dialect, path, body=None, key="k", raw=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.fake.port, timeout=30)
        try:
            headers = {"Content-Type": "application/json", "x-goog-api-key": key, "Authorization": "Bearer " + key}
            data = raw if raw is not None else json.dumps(body) if body is not None else None
            conn.request("POST" if data else "GET", BASE[dialect] + path, data, headers)
            answer = conn.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            conn.close()

    def good(self, dialect, path, body=None):
        status, _, data = self.ask(dialect, path, body)
        self.assertEqual(status, 200, data)
        return json.loads(data)

    def bad(self, status, dialect, path, body=None, **more):
        got, headers, data = self.ask(dialect, path, body, **more)
        self.assertEqual(got, status, data)
        return headers, json.loads(data)

    # ---- formats ----

    def test_gemini_embeds_one_and_many(self):
        one = self.good("gemini", "/models/gemini-embedding-001:embedContent", EMBED)
        self.assertEqual(len(one["embedding"]["values"]), 256)
        self.assertAlmostEqual(sum(x * x for x in one["embedding"]["values"]), 0.49, places=4)  # not unit length below 3072
        many = self.good("gemini", "/models/gemini-embedding-001:batchEmbedContents", {"requests": [EMBED] * 100})
        self.assertEqual(len(many["embeddings"]), 100)
        self.assertEqual(many["embeddings"][7], one["embedding"])

    def test_gemini_refuses_what_gemini_refuses(self):
        path = "/models/gemini-embedding-001:batchEmbedContents"
        for body in ({"requests": [EMBED] * 101}, {"requests": []}, {"requests": [{**EMBED, "model": None}]},
                     {"requests": [{**EMBED, "model": "gemini-embedding-001"}]}, {"requests": [{**EMBED, "input": 1}]}, {"texts": []},
                     {"requests": [{**EMBED, "title": "t"}]}, {"requests": [{**EMBED, "taskType": "QUERY"}]},
                     {"requests": [{**EMBED, "content": {"parts": [{"text": ""}]}}]}, {"requests": [{**EMBED, "outputDimensionality": 64}]}):
            self.assertEqual(self.bad(400, "gemini", path, body)[1]["error"]["status"], "INVALID_ARGUMENT")
        self.bad(404, "gemini", "/models/text-embedding-004:embedContent", EMBED)
        self.bad(400, "gemini", path, raw=b'{"requests": "\xff"}')
        self.bad(403, "gemini", path, EMBED, key="")
        self.assertIn("API_KEY_INVALID", str(self.bad(400, "gemini", path, EMBED, key="bad")[1]))

    def test_gemini_generates_and_streams(self):
        body = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}], "generationConfig": {"maxOutputTokens": 99}}
        answer = self.good("gemini", "/models/gemini-flash-latest:generateContent", body)
        self.assertEqual(answer["candidates"][0]["content"]["parts"][0]["text"], "A lease is renewed by its holder [2].")
        _, headers, data = self.ask("gemini", "/models/gemini-flash-latest:streamGenerateContent?alt=sse", body)
        events = [json.loads(line[6:]) for line in data.decode().split("\n") if line]
        self.assertEqual(headers["content-type"], "text/event-stream")
        self.assertEqual("".join(e["candidates"][0]["content"]["parts"][0]["text"] for e in events), "A lease is renewed by its holder [2].")
        self.assertEqual([e["candidates"][0].get("finishReason") for e in events][-2:], [None, "STOP"])
        body["contents"].append({"role": "model", "parts": [{"text": "x"}]})
        self.bad(400, "gemini", "/models/gemini-flash-latest:generateContent", body)
        self.bad(400, "gemini", "/models/gemini-flash-latest:streamGenerateContent", body)

    def test_openai_embeds_in_both_encodings(self):
        body = {"model": "text-embedding-3-small", "input": ["a lease", "a tea"], "dimensions": 64}
        floats = self.good("openai", "/embeddings", body)["data"]
        self.fake.config(openai={"shuffle": True})
        coded = self.good("openai", "/embeddings", {**body, "encoding_format": "base64"})["data"]
        self.assertEqual([row["index"] for row in coded], [1, 0])
        for one in coded:
            for a, b in zip(vector(one["embedding"]), floats[one["index"]]["embedding"]):
                self.assertAlmostEqual(a, b, places=6)
        self.bad(400, "openai", "/embeddings", {**body, "extra": 1})
        self.bad(400, "openai", "/embeddings", {**body, "input": [""]})
        self.bad(400, "openai", "/embeddings", {**body, "input": ["a"] * 2049})
        self.assertEqual(self.bad(400, "openai", "/embeddings", {**body, "input": ["abc " * 9000]})[1]["error"]["code"],
                         "context_length_exceeded")
        self.bad(401, "openai", "/embeddings", body, key="")

    def test_openai_chats_and_streams(self):
        self.assertEqual(self.good("vllm", "/chat/completions", CHAT)["choices"][0]["message"]["content"],
                         "A lease is renewed by its holder [2].")
        _, _, data = self.ask("vllm", "/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}})
        lines = [line[6:] for line in data.decode().split("\n") if line]
        self.assertEqual(lines[-1], "[DONE]")
        self.assertEqual(json.loads(lines[-2])["choices"], [])
        reasons = {**CHAT, "model": "gpt-5-mini", "max_tokens": 9}
        self.assertEqual(self.bad(400, "openai", "/chat/completions", reasons)[1]["error"]["param"], "max_tokens")
        self.fake.config(vllm={"refuse": ["stream_options"]})
        self.bad(400, "vllm", "/chat/completions", {**CHAT, "stream": True, "stream_options": {}})

    def test_max_tokens_cuts_the_answer(self):
        choice = self.good("vllm", "/chat/completions", {**CHAT, "max_tokens": 4})["choices"][0]
        self.assertEqual(choice["finish_reason"], "length")
        self.assertTrue("A lease is renewed by its holder [2].".startswith(choice["message"]["content"]))

    def test_refusal_is_the_one_that_the_instructions_name(self):
        messages = [{"role": "system", "content": 'Else say "It is not in the sources."'}, {"role": "user", "content": "[1] Tea.\nQuestion: zebra?"}]
        self.assertEqual(self.good("vllm", "/chat/completions", {"model": "m", "messages": messages})["choices"][0]["message"]["content"],
                         "It is not in the sources.")

    def test_cohere(self):
        body = {"model": "embed-v4.0", "input_type": "search_query", "texts": ["a", "b"], "embedding_types": ["float"]}
        self.assertEqual([len(v) for v in self.good("cohere", "/v2/embed", body)["embeddings"]["float"]], [1536, 1536])
        self.bad(400, "cohere", "/v2/embed", {**body, "texts": ["a"] * 97})
        self.bad(400, "cohere", "/v2/embed", {**body, "input_type": "query"})
        self.bad(400, "cohere", "/v2/embed", {**body, "model": "embed-english-v3.0", "output_dimension": 512})
        rank = {"model": "rerank-v3.5", "query": "lease", "documents": ["tea", "a lease"], "top_n": 1}
        self.assertEqual([r["index"] for r in self.good("cohere", "/v2/rerank", rank)["results"]], [1])
        self.bad(400, "cohere", "/v2/rerank", {**rank, "return_documents": True})

    def test_rerank_servers(self):
        rank = {"model": "m", "query": "lease", "documents": ["tea", "a lease"]}
        self.assertEqual(self.good("jina", "/v1/rerank", rank)["results"][0]["document"], {"text": "a lease"})
        self.fake.config(jina={"list_key": "", "score_key": "score"})
        self.assertIn("score", self.good("jina", "/v1/rerank", rank)[0])
        raw = self.good("llamacpp", "/rerank", rank)["results"]
        self.assertEqual([r["index"] for r in raw], [0, 1])  # not sorted, and logits
        self.assertLess(raw[0]["relevance_score"], 0)
        self.assertEqual(self.good("tei", "/rerank", {"query": "lease", "texts": ["tea", "a lease"]})[0]["index"], 1)
        self.bad(400, "tei", "/rerank", {"query": "lease", "documents": ["tea"]})

    def test_tei_and_its_limits(self):
        self.assertEqual(self.good("tei", "/info")["max_client_batch_size"], 32)
        self.assertEqual(len(self.good("tei", "/embed", {"inputs": "a"})), 1)
        self.assertIn("maximum allowed batch size 32", self.bad(422, "tei", "/embed", {"inputs": ["a"] * 33})[1]["error"])
        self.assertIn("must have less than 512 tokens", self.bad(422, "tei", "/v1/embeddings", {"input": ["abc " * 600]})[1]["message"])
        self.good("tei", "/embed", {"inputs": ["abc " * 600], "truncate": True})
        try:  # refused early: the client may be cut while it still sends
            self.assertEqual(self.ask("tei", "/embed", raw=b'{"inputs":"' + b"x" * 2000000 + b'"}')[0], 413)
        except OSError:
            pass
        self.assertEqual(self.fake.stats("tei.embed")["statuses"]["413"], 1)

    def test_small_servers_have_errors_of_their_own(self):
        self.fake.config(ollama={"models": ["nomic-embed-text"]})
        self.assertEqual(self.bad(404, "ollama", "/chat/completions", CHAT)[1], {"error": 'model "m" not found, try pulling it first'})
        body = {"model": "m", "input": ["abc " * 600], "encoding_format": "base64"}
        self.assertEqual(self.bad(500, "llamacpp", "/embeddings", body)[1]["error"]["type"], "server_error")
        self.assertIsInstance(self.good("ollama", "/embeddings", {**body, "model": "nomic-embed-text"})["data"][0]["embedding"], list)

    # ---- limits ----

    def test_a_minute_holds_no_more_than_its_limit(self):
        self.fake.config(window_s=2, limits=[{"route": "gemini.*", "requests_per_minute": 3}])
        path = "/models/gemini-embedding-001:embedContent"
        for _ in range(3):
            self.good("gemini", path, EMBED)
        delay = self.bad(429, "gemini", path, EMBED)[1]["error"]["details"][-1]["retryDelay"]
        self.assertTrue(0 < float(delay[:-1]) <= 2)
        time.sleep(float(delay[:-1]))  # what the server says is true
        self.good("gemini", path, EMBED)
        self.assertEqual(self.fake.stats("gemini.*")["statuses"], {"200": 4, "429": 1})
        self.assertEqual(self.fake.window("gemini.*", 60)["max"], 5)

    def test_limits_of_inputs_and_of_a_day(self):
        self.fake.config(limits=[{"route": "openai.*", "inputs_per_minute": 2}, {"route": "gemini.*", "requests_per_day": 0}])
        body = {"model": "text-embedding-3-small", "input": ["a", "b"]}
        self.good("openai", "/embeddings", body)
        headers, error = self.bad(429, "openai", "/embeddings", body)
        self.assertEqual(error["error"]["code"], "rate_limit_exceeded")
        self.assertTrue(0 < int(headers["retry-after"]) <= 60)
        self.assertIn("PerDay", str(self.bad(429, "gemini", "/models/gemini-embedding-001:embedContent", EMBED)[1]))

    def test_each_hint(self):
        path = "/embeddings"
        for hint, name in (("retry-after", "retry-after"), ("retry-after-ms", "retry-after-ms"), ("retry-after-date", "retry-after"),
                           ("ratelimit-reset", "x-ratelimit-reset-requests"), ("none", None)):
            self.fake.heal()
            self.fake.fail("limit", "openai.*", hint=hint, ms=1500)
            headers, _ = self.bad(429, "openai", path, {"model": "m", "input": "a"})
            hints = {k: v for k, v in headers.items() if "retry" in k or "reset" in k}
            self.assertEqual(list(hints), [name] if name else [])
        for hint in ("retry-info", "message"):
            self.fake.heal()
            self.fake.fail("limit", "gemini.*", hint=hint, ms=1500)
            text = str(self.bad(429, "gemini", "/models/gemini-embedding-001:embedContent", EMBED)[1])
            self.assertEqual(("'1.5s'" in text, "retry in 1.50s" in text), (hint == "retry-info", hint == "message"))

    # ---- faults ----

    def test_rows_are_used_as_often_as_they_say(self):
        self.fake.fail("status", "vllm.chat", status=503, times=2, after=1, match="lease")
        found = [self.ask("vllm", "/chat/completions", CHAT)[0] for _ in range(5)]
        self.assertEqual(found, [200, 503, 503, 200, 200])
        self.assertEqual(self.fake.stats("vllm.chat")["faults"], {"status": 2})

    def test_faults_of_answers(self):
        body = {"model": "m", "input": ["a", "b"]}
        for fault, check in (("wrong_count", lambda t: t.count("index") == 1), ("extra_count", lambda t: t.count("index") == 3),
                             ("nan", lambda t: "NaN" in t), ("inf", lambda t: "1e999" in t), ("null_number", lambda t: "null" in t),
                             ("bad_index", lambda t: '"index":9' in t), ("html_ok", lambda t: "<html>" in t), ("empty", lambda t: t == ""),
                             ("wrong_order", lambda t: t.find('"index":1') < t.find('"index":0')),
                             ("duplicate_index", lambda t: t.count('"index":0') == 2), ("trailing_garbage", lambda t: t.endswith("more")),
                             ("wrong_dim", lambda t: len(json.loads(t)["data"][0]["embedding"]) == 65),
                             ("zero_vector", lambda t: not any(json.loads(t)["data"][1]["embedding"])),
                             ("drip", lambda t: len(json.loads(t)["data"]) == 2)):
            self.fake.heal()
            self.fake.fail(fault, "vllm.*", ms=1, bytes=512)
            status, _, data = self.ask("vllm", "/embeddings", body)
            self.assertTrue(status == 200 and check(data.decode()), f"{fault}: {data[:200]}")
        self.fake.heal()
        self.fake.fail("broken_utf8", "vllm.*")
        self.assertRaises(UnicodeDecodeError, self.ask("vllm", "/embeddings", body)[2].decode)

    def test_faults_of_connections(self):
        for fault, what in (("cut", http.client.IncompleteRead), ("close", http.client.RemoteDisconnected), ("reset", ConnectionResetError)):
            self.fake.heal()
            self.fake.fail(fault, "vllm.*")
            self.assertRaises(what, self.ask, "vllm", "/embeddings", {"model": "m", "input": ["a", "b"]})
        self.fake.down()
        self.assertRaises(ConnectionRefusedError, self.ask, "vllm", "/models")
        self.fake.up()
        self.fake.heal()
        self.good("vllm", "/models")
        self.fake.down(ms=50)
        end = time.monotonic() + 20
        while True:  # it comes back by itself
            try:
                self.good("vllm", "/models")
                break
            except OSError:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)

    def test_faults_of_streams(self):
        body = {**CHAT, "stream": True}
        for fault, what in (("stream_cut", http.client.IncompleteRead), ("stream_reset", (ConnectionResetError, http.client.IncompleteRead))):
            self.fake.heal()
            self.fake.fail(fault, "vllm.stream")
            self.assertRaises(what, self.ask, "vllm", "/chat/completions", body)
        for fault, check in (("stream_error", lambda t: '"error"' in t or "error" in t.split("\n\n")[2]),
                             ("stream_end", lambda t: "finish_reason\":\"" not in t and "[DONE]" not in t)):
            self.fake.heal()
            self.fake.fail(fault, "vllm.stream")
            _, _, data = self.ask("vllm", "/chat/completions", body)
            self.assertTrue(check(data.decode()), f"{fault}: {data}")
        self.fake.heal()
        self.fake.fail("endless", "vllm.stream")
        conn = http.client.HTTPConnection("127.0.0.1", self.fake.port, timeout=30)
        conn.request("POST", BASE["vllm"] + "/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        self.assertEqual(len(conn.getresponse().read(1 << 20)), 1 << 20)
        conn.close()

    def test_quirks_of_streams(self):
        self.fake.config(vllm={"sse": {"crlf": True, "no_space": True, "comments": True, "bom": True}, "done": False, "cut_writes": True,
                               "answer": "Größe \U0001f600 [1]."})
        _, _, data = self.ask("vllm", "/chat/completions", {**CHAT, "stream": True})
        self.assertTrue(data.startswith(b"\xef\xbb\xbf: PROCESSING\r\n\r\ndata:{"))
        self.assertNotIn(b"[DONE]", data)
        self.assertIn("\U0001f600".encode(), data)

    def test_settings_that_nobody_has_are_an_error(self):
        self.assertRaises(RuntimeError, self.fake.config, openai={"no_such": 1})
        self.assertRaises(RuntimeError, self.fake.fail, "no_such")

    def test_requests_are_kept_and_connections_counted(self):
        conn = http.client.HTTPConnection("127.0.0.1", self.fake.port, timeout=30)
        for _ in range(3):
            conn.request("GET", BASE["vllm"] + "/models")
            conn.getresponse().read()
        conn.close()
        self.assertEqual(self.fake.stats()["connections"], 1)
        self.assertEqual([r["path"] for r in self.fake.requests("vllm.models")], ["/vllm/v1/models"] * 3)


if __name__ == "__main__":
    unittest.main()
