"""The formats that the fake provider speaks, one class a dialect: parse() validates a request as strictly as the strictest server known
and makes a Call; render() writes its answer; error() and limited() are the dialect's own ways to say no. Formats as documented by the
vendors, 2025-06 to 2026-11.
"""
import array
import base64
import email.utils
import json
import re
import time

import words

DAY = "day"  # kinds of limits, as limits.py says them; the others end by themselves


class Refuse(Exception):
    """A request that is answered with an error: code is the word for it, param the field that is to blame."""

    def __init__(self, status, message, code="invalid_request_error", param=None, **more):
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.more = status, message, code, param, more


class Reply:
    """body: bytes; or events: a list of bytes, sent one by one (chunked)."""

    def __init__(self, status, body=b"", headers=None, content_type="application/json", events=None):
        self.status, self.body, self.headers, self.events = status, body, dict(headers or {}), events
        self.content_type = content_type


class Call:
    """A request that was understood, and what is going to be answered; faults change the second half before it is written."""

    def __init__(self, route, kind, model="", **more):
        self.route, self.kind, self.model = route, kind, model
        self.texts, self.dim, self.length, self.encoding = [], 0, 1.0, "float"  # embed
        self.query, self.top_n = "", None  # rerank; texts are the documents
        self.system, self.prompt, self.stream, self.max_tokens, self.usage_asked = "", "", False, None, True  # generate
        self.__dict__.update(more)
        self.tokens = sum(map(words.tokens_of, self.texts)) + sum(words.tokens_of(t) for t in (self.query, self.system, self.prompt) if t)
        self.vectors, self.indices = [], []  # vectors: lists of the texts of numbers
        self.results = []  # (index, score)
        self.text, self.finish, self.completion_tokens, self.blocked, self.no_parts = "", "stop", 0, None, False
        self.info = None

    def answer(self, config):
        if self.kind == "embed":
            self.vectors = [number_texts(words.vector_of(t, self.dim, self.length)) for t in self.texts]
            self.indices = list(range(len(self.texts)))
        elif self.kind == "rerank":
            scored = [(i, words.score_of(self.query, t)) for i, t in enumerate(self.texts)]
            if config.get("scores") == "logit":
                scored = [(i, round(12 * s - 8, 5)) for i, s in scored]
            if config.get("sorted", True):
                scored.sort(key=lambda one: -one[1])
            self.results = scored[:self.top_n] if self.top_n is not None else scored
        elif self.kind == "generate":
            self.text = config.get("answer") if config.get("answer") is not None else words.answer_to(self.prompt, self.system)
            pieces = words.pieces_of(self.text)
            if self.max_tokens is not None and words.tokens_of(self.text) > self.max_tokens:
                while pieces and words.tokens_of("".join(pieces)) > self.max_tokens:
                    pieces.pop()
                self.text, self.finish = "".join(pieces), "length"
            self.completion_tokens = words.tokens_of(self.text) if self.text else 0


def number_texts(vector):
    return ["0.0" if x == 0 else "%.7g" % x for x in vector]


def array_text(texts):
    return "[" + ",".join(texts) + "]"


def base64_text(texts):
    values = [float(t) if t not in ("null", '"x"') else float("nan") for t in texts]
    return json.dumps(base64.b64encode(array.array("f", values).tobytes()).decode())


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def known(fields, value, at, refuse):
    if not isinstance(value, dict):
        raise refuse(f"{at or 'body'} must be an object")
    for name in value:
        if name not in fields:
            raise refuse(f'Invalid JSON payload received. Unknown name "{name}"' + (f" at '{at}'" if at else "") + ": Cannot find field.", name)
    return value


def a_string(value, at, refuse, may_be_empty=False):
    if not isinstance(value, str) or (not value and not may_be_empty):
        raise refuse(f"{at} must be a string" + ("" if may_be_empty else " that is not empty"), at)
    return value


def go_duration(seconds):
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return (f"{int(hours)}h" if hours else "") + (f"{int(minutes)}m" if hours or minutes else "") + text


def hint_headers(hint, wait_s):
    """The headers of a way to say when; {} for those that are in a body."""
    if hint == "retry-after":
        return {"Retry-After": str(-(-int(wait_s * 1000) // 1000))}
    if hint == "retry-after-date":
        return {"Retry-After": email.utils.formatdate(time.time() + wait_s + 0.999, usegmt=True)}
    if hint == "retry-after-ms":
        return {"retry-after-ms": str(round(wait_s * 1000))}
    if hint == "ratelimit-reset":
        return {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": go_duration(wait_s)}
    return {}


def sse_events(objects, config, done):
    """The quirks of a stream: {"crlf", "no_space", "comments", "bom"}."""
    sse = config.get("sse", {})
    end = b"\r\n" if sse.get("crlf") else b"\n"
    head = b"data:" if sse.get("no_space") else b"data: "
    events = [head + dump(one) + end + end for one in objects]
    if done:
        events.append(head + b"[DONE]" + end + end)
    if sse.get("comments"):
        events = [piece for event in events for piece in (b": PROCESSING" + end + end, event)]
    if sse.get("bom"):
        events.insert(0, b"\xef\xbb\xbf")
    return events


class Dialect:
    """name: the first part of its paths and routes; config: what a test may change (see provider.py)."""

    routes = []  # (method, regular expression of the path, call)
    defaults = {}
    own_hint = None

    def __init__(self, name):
        self.name = name
        self.config = {"needs_key": False, "key": None, "max_batch": None, "max_input_tokens": None, "refuse": [], "models": None,
                       "dim": 64, "answer": None, "usage": True, "sse": {}, "piece_ms": 0, "cut_writes": False, **self.defaults}

    def find(self, method, path):
        """(call, match); Refuse 404 or 405."""
        other = False
        for verb, pattern, call in self.routes:
            match = re.fullmatch(pattern, path)
            if match and verb == method:
                return call, match
            other = other or bool(match)
        raise Refuse(405 if other else 404, "method not allowed" if other else f"no such path: {path}", "not_found_error")

    def key_of(self, headers):
        bearer = headers.get("authorization", "")
        return bearer[7:] if bearer.startswith("Bearer ") else ""

    def check_key(self, headers):
        key = self.key_of(headers)
        if self.config["key"] is not None and key != self.config["key"] or key.startswith("bad") or self.config["needs_key"] and not key:
            raise Refuse(401, f"Incorrect API key provided: {key[:4]}***.", "invalid_api_key")

    def check_model(self, model):
        a_string(model, "model", self.refuse)
        if self.config["models"] is not None and model not in self.config["models"]:
            raise Refuse(404, f"The model `{model}` does not exist", "model_not_found", "model")

    def check_refused(self, body):
        for name in self.config["refuse"]:
            where = body
            for part in name.split("."):
                where = where.get(part) if isinstance(where, dict) else None
            if where is not None:
                last = name.rpartition(".")[2]
                raise Refuse(400, f"Unsupported parameter: '{last}' is not supported with this model.", "unsupported_parameter", last)

    def refuse(self, message, param=None):
        return Refuse(400, message, "invalid_request_error", param)

    def limited(self, kind, wait_s, hint=None):
        """429 in the dialect's own words. hint: one of hint_headers's, "retry-info", "message", "none"; None = its own."""
        hint = hint or self.own_hint
        if kind == DAY:
            reply = self.error(Refuse(429, "quota of the day exhausted", "insufficient_quota"))
        else:
            reply = self.error(Refuse(429, "Rate limit reached for requests", "rate_limit_exceeded"))
            reply.headers.update(hint_headers(hint, wait_s))
        return reply

    def headers_of_success(self, remaining):
        return {}


class Gemini(Dialect):
    routes = [("POST", r"/v1(?:beta)?/models/([^/:]+):embedContent", "embed"),
              ("POST", r"/v1(?:beta)?/models/([^/:]+):batchEmbedContents", "batch_embed"),
              ("POST", r"/v1(?:beta)?/models/([^/:]+):generateContent", "generate"),
              ("POST", r"/v1(?:beta)?/models/([^/:]+):streamGenerateContent", "stream"),
              ("POST", r"/v1(?:beta)?/models/([^/:]+):countTokens", "count_tokens"),
              ("GET", r"/v1(?:beta)?/models", "models")]
    defaults = {"needs_key": True, "max_batch": 100, "batch_missing": False, "wrap_errors": False, "normalise": None}
    own_hint = "retry-info"
    TASKS = {"RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING", "QUESTION_ANSWERING",
             "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY", "TASK_TYPE_UNSPECIFIED"}
    GONE = {"text-embedding-004", "embedding-001"}
    STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
              499: "CANCELLED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
    FINISH = {"stop": "STOP", "length": "MAX_TOKENS"}

    def key_of(self, headers):
        return headers.get("x-goog-api-key", "")

    def check_key(self, headers):
        try:
            super().check_key(headers)
        except Refuse as refused:
            if self.key_of(headers):
                raise Refuse(400, "API key not valid. Please pass a valid API key.", "API_KEY_INVALID") from refused
            raise Refuse(403, "Method doesn't allow unregistered callers.", "forbidden") from refused

    def parse(self, call, match, body, query):
        if call == "models":
            answer = Call("models", "info")
            answer.info = {"models": [{"name": "models/" + name, "supportedGenerationMethods": [method]} for name, method in
                                      (("gemini-embedding-001", "embedContent"), ("gemini-flash-latest", "generateContent"))]}
            return answer
        model = match.group(1)
        if model in self.GONE or not model.startswith("gemini-") or (self.config["models"] is not None and model not in self.config["models"]):
            raise Refuse(404, f"models/{model} is not found for API version v1beta", "not_found")
        if call in ("embed", "batch_embed") and "embedding" not in model or call in ("generate", "stream") and "embedding" in model:
            raise Refuse(404, f"models/{model} is not supported for {call}", "not_found")
        if call == "count_tokens":
            known({"contents", "generateContentRequest"}, body, "", self.refuse)
            answer = Call("count_tokens", "info", model)
            answer.info = {"totalTokens": sum(words.tokens_of(self.text_of(c, "contents")) for c in body.get("contents", []))}
            return answer
        if call == "embed":
            texts, dims = zip(self.one_embed(body, model, "", False))
        elif call == "batch_embed":
            if self.config["batch_missing"]:
                raise Refuse(404, f"models/{model} is not found for batchEmbedContents", "not_found")
            requests = known({"requests"}, body, "", self.refuse).get("requests")
            if not isinstance(requests, list) or not requests:
                raise self.refuse("BatchEmbedContentsRequest.requests: must not be empty")
            if self.config["max_batch"] and len(requests) > self.config["max_batch"]:
                raise self.refuse(f"* BatchEmbedContentsRequest.requests: at most {self.config['max_batch']} requests can be in one batch")
            texts, dims = zip(*(self.one_embed(one, model, f"requests[{i}]", True) for i, one in enumerate(requests)))
        else:
            return self.parse_generate(call, body, model, query)
        if len(set(dims)) > 1:
            raise self.refuse("output dimensionality differs within the batch")
        normalise = self.config["normalise"]
        if normalise is None:
            normalise = model == "gemini-embedding-2" or dims[0] == 3072
        return Call(call, "embed", model, texts=list(texts), dim=dims[0], length=1.0 if normalise else 0.7)

    def one_embed(self, one, model, at, needs_model):
        known({"model", "content", "taskType", "title", "outputDimensionality", "task_type", "output_dimensionality"}, one, at, self.refuse)
        named, where = one.get("model"), at + "." if at else ""
        if (needs_model or named is not None) and named != f"models/{model}":
            raise self.refuse(f"{where}model: unexpected model name format or other model: '{named}'")
        task = one.get("taskType", one.get("task_type"))
        if task is not None and task not in self.TASKS:
            raise self.refuse(f"Invalid value at '{where}task_type', \"{task}\"")
        if task is not None and model == "gemini-embedding-2":
            raise self.refuse(f"{where}task_type is not supported by this model")
        if one.get("title") is not None and task != "RETRIEVAL_DOCUMENT" and model != "gemini-embedding-2":
            raise self.refuse(f"{where}title: only with task type RETRIEVAL_DOCUMENT")
        dim = one.get("outputDimensionality", one.get("output_dimensionality", 3072))
        if not isinstance(dim, int) or not 128 <= dim <= 3072:
            raise self.refuse(f"{where}output_dimensionality: must be between 128 and 3072")
        text = self.text_of(one.get("content"), where + "content")
        if not text:
            raise self.refuse(f"{where}content contains an empty Part.")
        return text, dim

    def text_of(self, content, at):
        known({"parts", "role"}, content, at, self.refuse)
        parts = content.get("parts")
        if not isinstance(parts, list) or not parts:
            raise self.refuse(f"{at}.parts: must not be empty")
        for part in parts:
            a_string(known({"text", "thought"}, part, at + ".parts", self.refuse).get("text"), at + ".parts.text", self.refuse)
        return "\n".join(part["text"] for part in parts)

    def parse_generate(self, call, body, model, query):
        known({"systemInstruction", "contents", "generationConfig", "safetySettings", "tools", "toolConfig", "cachedContent"}, body, "",
              self.refuse)
        if call == "stream" and "alt=sse" not in query:
            raise self.refuse("this server streams with alt=sse only")
        contents = body.get("contents")
        if not isinstance(contents, list) or not contents:
            raise self.refuse("* GenerateContentRequest.contents: contents is not specified")
        for i, content in enumerate(contents):
            self.text_of(content, f"contents[{i}]")
            if content.get("role", "user") not in ("user", "model"):
                raise self.refuse("Please use a valid role: user, model.")
        if contents[-1].get("role", "user") != "user":
            raise self.refuse("Requests ending with a model turn are not supported.")
        settings = known({"maxOutputTokens", "stopSequences", "temperature", "topP", "topK", "seed", "candidateCount", "responseMimeType",
                          "responseSchema", "responseJsonSchema", "thinkingConfig"}, body.get("generationConfig", {}), "generation_config",
                         self.refuse)
        thinking = known({"thinkingLevel", "thinkingBudget", "includeThoughts"}, settings.get("thinkingConfig", {}),
                         "generation_config.thinking_config", self.refuse)
        if thinking.get("thinkingLevel", "low") not in ("minimal", "low", "medium", "high"):
            raise self.refuse("Invalid value at 'generation_config.thinking_config.thinking_level'")
        self.check_refused({**settings, **thinking})
        limit = settings.get("maxOutputTokens")
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise self.refuse("max_output_tokens must be positive", "maxOutputTokens")
        system = self.text_of(body["systemInstruction"], "system_instruction") if "systemInstruction" in body else ""
        return Call(call, "generate", model, system=system, prompt=self.text_of(contents[-1], "contents"), stream=call == "stream",
                    max_tokens=limit, history=[self.text_of(c, "contents") for c in contents[:-1]])

    def usage_of(self, call, done):
        if not self.config["usage"]:
            return {}
        if call.kind == "embed":
            return {"usageMetadata": {"promptTokenCount": call.tokens}}
        tokens = call.completion_tokens if done else 0
        return {"usageMetadata": {"promptTokenCount": call.tokens, **({"candidatesTokenCount": tokens} if done else {}),
                                  "totalTokenCount": call.tokens + tokens}}

    def candidate(self, call, text, finish, thought=False):
        if call.blocked:
            return {"promptFeedback": {"blockReason": call.blocked}}
        content = {"role": "model"}
        if text is not None and not call.no_parts:
            content["parts"] = [{"text": text, "thought": True}] if thought else [{"text": text}]
        return {"candidates": [{"index": 0, "content": content, **({"finishReason": self.FINISH.get(finish, finish)} if finish else {})}]}

    def render(self, call):
        if call.info is not None:
            return Reply(200, dump(call.info))
        if call.kind == "embed":
            rows = ['{"values":%s}' % array_text(v) for v in call.vectors]
            usage = dump(self.usage_of(call, True)).decode()[1:-1]
            body = '{"embedding":%s' % rows[0] if call.route == "embed" and rows else '{"embeddings":[%s]' % ",".join(rows)
            return Reply(200, (body + ("," + usage if usage else "") + "}").encode())
        if not call.stream:
            return Reply(200, dump({**self.candidate(call, call.text, call.finish), **self.usage_of(call, True), "modelVersion": call.model}))
        pieces = words.pieces_of(call.text) or [""]
        objects = [{**self.candidate(call, p, call.finish if i + 1 == len(pieces) else None), **self.usage_of(call, i + 1 == len(pieces))}
                   for i, p in enumerate(pieces)]
        if self.config["sse"].get("thoughts"):
            objects.insert(0, self.candidate(call, "Let me think about that.", None, True))
        if call.blocked or call.no_parts:
            objects = objects[-1:]
        return Reply(200, content_type="text/event-stream", events=sse_events(objects, self.config, False))

    def error_object(self, refused):
        details = list(refused.more.get("details", []))
        if refused.code == "API_KEY_INVALID":
            details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"})
        error = {"code": refused.status, "message": refused.message, "status": self.STATUS.get(refused.status, "UNKNOWN")}
        return {"error": {**error, **({"details": details} if details else {})}}

    def error(self, refused):
        body = self.error_object(refused)
        return Reply(refused.status, dump([body] if self.config["wrap_errors"] else body))

    def limited(self, kind, wait_s, hint=None):
        hint = hint or self.own_hint
        quota = "EmbedContentRequestsPer%sPerProjectPerModel-FreeTier" % ("Day" if kind == DAY else "Minute")
        details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota, "quotaValue": "100"}]},
                   {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "limits", "url": "https://ai.google.dev"}]}]
        message = "You exceeded your current quota, please check your plan and billing details."
        if hint == "retry-info":
            text = f"{wait_s:.9f}".rstrip("0").rstrip(".") if wait_s % 1 else str(int(wait_s))
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": text + "s"})
        elif hint == "message":
            message += f" Please retry in {wait_s:.2f}s."
        reply = self.error(Refuse(429, message, details=details))
        reply.headers.update(hint_headers(hint, wait_s))
        return reply


class OpenAI(Dialect):
    """OpenAI itself is strict; servers that are compatible ignore what they do not know (`strict` False) and differ in their errors."""

    routes = [("POST", r"/v1/embeddings", "embeddings"), ("POST", r"/v1/chat/completions", "chat"), ("GET", r"/v1/models", "models")]
    defaults = {"strict": False, "encoding": "asked", "errors": "openai", "token_batch": None, "allow_empty": True, "done": True,
                "shuffle": False, "reasoning": False}
    own_hint = "retry-after"
    FIELDS = {"embeddings": {"model", "input", "encoding_format", "dimensions", "user"},
              "chat": {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop",
                       "seed", "n", "response_format", "user", "reasoning_effort"}}
    FINISH = {}

    def refuse(self, message, param=None):
        return Refuse(400, message.replace("Invalid JSON payload received. Unknown name", "Unrecognized request argument supplied:"),
                      "invalid_request_error", param)

    def parse(self, call, match, body, query):
        if call == "models":
            answer = Call("models", "info")
            answer.info = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x"}]}
            return answer
        if not isinstance(body, dict):
            raise self.refuse("body must be an object")
        if self.config["strict"]:
            known(self.FIELDS[call], body, "", self.refuse)
        self.check_model(body.get("model"))
        self.check_refused(body)
        return self.parse_embeddings(body) if call == "embeddings" else self.parse_chat(body)

    def parse_embeddings(self, body):
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts:
            raise self.refuse("'$.input' is invalid. Please check the API reference.", "input")
        for text in texts:
            a_string(text, "input", self.refuse, self.config["allow_empty"])
        self.check_batch(texts)
        encoding, dim = body.get("encoding_format", "float"), body.get("dimensions", self.config["dim"])
        if encoding not in ("float", "base64"):
            raise self.refuse(f"Invalid value: '{encoding}'.", "encoding_format")
        if "dimensions" in body and self.config["strict"] and not body["model"].startswith("text-embedding-3"):
            raise self.refuse("This model does not support specifying dimensions.", "dimensions")
        if not isinstance(dim, int) or not 1 <= dim <= 8192:
            raise self.refuse("Invalid value for 'dimensions'", "dimensions")
        if self.config["strict"] and "dimensions" not in body:
            dim = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072}.get(body["model"], dim)
        return Call("embeddings", "embed", body["model"], texts=texts, dim=dim,
                    encoding=encoding if self.config["encoding"] == "asked" else self.config["encoding"])

    def check_batch(self, texts, truncate=False):
        """The ways in which servers say that it is too much."""
        limit, longest = self.config["max_batch"], None if truncate else self.config["max_input_tokens"]
        if limit and len(texts) > limit:
            if self.name == "tei":
                raise Refuse(422, f"batch size {len(texts)} > maximum allowed batch size {limit}", "Validation")
            raise self.refuse(f"Invalid 'input': array too long. Expected an array with maximum length {limit}, but got an array with length "
                              f"{len(texts)} instead.", "input")
        tokens = list(map(words.tokens_of, texts))
        if self.config["token_batch"] and sum(tokens) > self.config["token_batch"]:
            raise Refuse(400, f"Invalid 'input': maximum request size is {self.config['token_batch']} tokens per request.",
                         "max_tokens_per_request", "input")
        if longest and max(tokens) > longest:
            if self.name == "llamacpp":
                raise Refuse(500, f"input ({max(tokens)} tokens) is too large to process. increase the physical batch size (current batch "
                             f"size: {longest})", "server_error")
            if self.name == "tei":
                raise Refuse(422, f"Input validation error: `inputs` must have less than {longest} tokens. Given: {max(tokens)}", "Validation")
            raise Refuse(400, f"This model's maximum context length is {longest} tokens, however you requested {max(tokens)} tokens. Please "
                         "reduce your prompt.", "context_length_exceeded", "input")

    def parse_chat(self, body):
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise self.refuse("[] is too short - 'messages'", "messages")
        for message in messages:
            if not isinstance(message, dict) or message.get("role") not in ("system", "developer", "user", "assistant"):
                raise self.refuse("Invalid value for 'messages[].role'", "messages")
            a_string(message.get("content"), "content", self.refuse)
            if self.config["strict"]:
                known({"role", "content", "name"}, message, "messages", self.refuse)
        if messages[-1]["role"] != "user":
            raise self.refuse("the last message must be the user's", "messages")
        reasons = self.config["strict"] and re.match(r"gpt-5|o\d", body["model"])
        for name in ("max_tokens", "temperature") if reasons else ():
            if name in body and (name != "temperature" or body[name] != 1):
                raise Refuse(400, f"Unsupported parameter: '{name}' is not supported with this model." +
                             (" Use 'max_completion_tokens' instead." if name == "max_tokens" else ""), "unsupported_parameter", name)
        if "stream_options" in body and not body.get("stream"):
            raise self.refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise self.refuse("max_tokens must be positive", "max_tokens")
        texts = {role: "\n".join(m["content"] for m in messages if m["role"] in role) for role in (("system", "developer"), ("user",))}
        tokens = sum(words.tokens_of(m["content"]) for m in messages)
        if self.config["max_input_tokens"] and tokens > self.config["max_input_tokens"] and self.name != "tei":
            code = "exceed_context_size_error" if self.name == "llamacpp" else "context_length_exceeded"
            raise Refuse(400, f"This model's maximum context length is {self.config['max_input_tokens']} tokens. However, your messages "
                         f"resulted in {tokens} tokens.", code, "messages")
        return Call("stream" if body.get("stream") else "chat", "generate", body["model"], system=texts[("system", "developer")],
                    prompt=messages[-1]["content"], stream=bool(body.get("stream")), max_tokens=limit,
                    history=[m["content"] for m in messages[:-1] if m["role"] in ("user", "assistant")],
                    usage_asked=bool(body.get("stream_options", {}).get("include_usage")) or not body.get("stream"))

    def usage_of(self, call):
        if not self.config["usage"] or not call.usage_asked:
            return {}
        return {"usage": {"prompt_tokens": call.tokens, **({"completion_tokens": call.completion_tokens} if call.kind == "generate" else {}),
                          "total_tokens": call.tokens + call.completion_tokens}}

    def render(self, call):
        if call.info is not None:
            return Reply(200, dump(call.info))
        if call.kind == "embed":
            return self.render_embeddings(call)
        head = {"id": "chatcmpl-7", "object": "chat.completion", "created": 1790000000, "model": call.model}
        finish = self.FINISH.get(call.finish, call.finish)
        if not call.stream:
            message = {"role": "assistant", "content": None if call.no_parts else call.text,
                       **({"reasoning_content": "Let me think."} if self.config["reasoning"] else {})}
            return Reply(200, dump({**head, "choices": [{"index": 0, "message": message, "finish_reason": finish}], **self.usage_of(call)}))
        head["object"] = "chat.completion.chunk"
        deltas = [{"role": "assistant", "content": ""}, *({"content": p} for p in words.pieces_of(call.text) if not call.no_parts)]
        if self.config["reasoning"]:
            deltas[1:1] = [{"reasoning_content": "Let me "}, {"reasoning": "think.", "content": None}]
        objects = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
        objects.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if self.usage_of(call):
            objects.append({**head, "choices": [], **self.usage_of(call)})
        return Reply(200, content_type="text/event-stream", events=sse_events(objects, self.config, self.config["done"]))

    def render_embeddings(self, call):
        rows = []
        for place, (index, vector) in enumerate(zip(call.indices, call.vectors)):
            as_base64 = call.encoding == "base64" or call.encoding == "mixed" and place % 2 == 0
            rows.append('{"object":"embedding","index":%s,"embedding":%s}' % (index, base64_text(vector) if as_base64 else array_text(vector)))
        if self.config["shuffle"]:
            rows.reverse()
        usage = dump(self.usage_of(call)).decode()[1:-1]
        return Reply(200, ('{"object":"list","data":[%s],"model":%s%s}' % (",".join(rows), json.dumps(call.model), "," + usage if usage else ""))
                     .encode())

    def error_object(self, refused):
        shape = self.config["errors"]
        if shape == "plain":
            return {"error": refused.message}
        if shape == "flat":
            return {"message": refused.message, "code": refused.status, "type": refused.code}
        if shape == "detail":
            return {"detail": refused.message}
        if shape == "vllm":
            return {"object": "error", "message": refused.message, "type": refused.code, "param": refused.param, "code": refused.status}
        if shape == "llamacpp":
            return {"error": {"code": refused.status, "message": refused.message, "type": refused.code}}
        return {"error": {"message": refused.message, "type": "requests" if refused.status == 429 else "invalid_request_error",
                          "param": refused.param, "code": refused.code}}

    def error(self, refused):
        return Reply(refused.status, dump(self.error_object(refused)))

    def headers_of_success(self, remaining):
        if remaining is None:
            return {}
        return {"x-ratelimit-limit-requests": str(remaining[0]), "x-ratelimit-remaining-requests": str(remaining[1]),
                "x-ratelimit-reset-requests": go_duration(60.0 / remaining[0])}


def parse_documents(body, fields, texts_name, dialect):
    """Shared by the rerank routes: (query, texts, top_n)."""
    known(fields, body, "", dialect.refuse)
    a_string(body.get("query"), "query", dialect.refuse)
    texts = body.get(texts_name)
    if not isinstance(texts, list) or not texts:
        raise dialect.refuse(f"{texts_name} must be a list that is not empty", texts_name)
    texts = [t["text"] if isinstance(t, dict) and isinstance(t.get("text"), str) else t for t in texts]
    for text in texts:
        a_string(text, texts_name, dialect.refuse, True)
    top = body.get("top_n")
    if top is not None and (not isinstance(top, int) or top < 1):
        raise dialect.refuse("top_n must be 1 or more", "top_n")
    return body["query"], texts, top


class Cohere(Dialect):
    routes = [("POST", r"/v2/rerank", "rerank"), ("POST", r"/v2/embed", "embed")]
    defaults = {"needs_key": True, "max_batch": 96, "max_documents": 1000, "dim": 1024}

    def parse(self, call, match, body, query):
        if not isinstance(body, dict):
            raise self.refuse("invalid request: body must be an object")
        self.check_model(body.get("model"))
        self.check_refused(body)
        if call == "rerank":
            asked, texts, top = parse_documents(body, {"model", "query", "documents", "top_n", "max_tokens_per_doc", "priority"}, "documents", self)
            if len(texts) > self.config["max_documents"]:
                raise self.refuse(f"invalid request: list of documents must not contain more than {self.config['max_documents']} items")
            return Call("rerank", "rerank", body["model"], query=asked, texts=texts, top_n=top)
        known({"model", "input_type", "texts", "embedding_types", "output_dimension", "truncate", "max_tokens"}, body, "", self.refuse)
        if body.get("input_type") not in ("search_document", "search_query", "classification", "clustering"):
            raise self.refuse("invalid request: input_type is required for this model")
        texts, types = body.get("texts"), body.get("embedding_types", ["float"])
        if not isinstance(texts, list) or not texts:
            raise self.refuse("invalid request: at least one text is required")
        if len(texts) > self.config["max_batch"]:
            raise self.refuse(f"invalid request: total number of texts must be at most {self.config['max_batch']} - received {len(texts)}")
        for text in texts:
            a_string(text, "texts", self.refuse)
        if types not in (["float"], ["base64"]):
            raise self.refuse("this server knows embedding_types float and base64 only")
        if body.get("truncate", "END") not in ("NONE", "START", "END"):
            raise self.refuse("invalid request: truncate")
        dim = body.get("output_dimension")
        if dim is not None and (body["model"] != "embed-v4.0" or dim not in (256, 512, 1024, 1536)):
            raise self.refuse("invalid request: output_dimension is not supported for this model")
        if dim is None:
            dim = 1536 if body["model"] == "embed-v4.0" else 384 if "-light-" in body["model"] else self.config["dim"]
        longest = self.config["max_input_tokens"]
        if longest and body.get("truncate") == "NONE" and max(map(words.tokens_of, texts)) > longest:
            raise self.refuse(f"invalid request: too many tokens: text must have at most {longest} tokens")
        return Call("embed", "embed", body["model"], texts=texts, dim=dim, encoding=types[0])

    def render(self, call):
        if call.kind == "rerank":
            results = [{"index": i, "relevance_score": s} for i, s in call.results]
            return Reply(200, dump({"id": "0b7f", "results": results,
                                    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": -(-len(call.texts) // 100)}}}))
        rows = ",".join(base64_text(v) if call.encoding == "base64" else array_text(v) for v in call.vectors)
        meta = dump({"api_version": {"version": "2"}, **({"billed_units": {"input_tokens": call.tokens}} if self.config["usage"] else {})})
        return Reply(200, ('{"id":"e1","response_type":"embeddings_by_type","embeddings":{"%s":[%s]},"texts":[],"meta":%s}' % (
            call.encoding, rows, meta.decode())).encode())

    def error_object(self, refused):
        return {"message": refused.message, "id": "e7"}

    def error(self, refused):
        return Reply(refused.status, dump(self.error_object(refused)))

    def limited(self, kind, wait_s, hint=None):
        text = "You are using a Trial key, which is limited to 1000 API calls / month." if kind == DAY else \
            "You are using a Trial key, which is limited to 10 API calls / minute."
        reply = self.error(Refuse(429, text))
        reply.headers.update(hint_headers(hint, wait_s))
        return reply


class Jina(OpenAI):
    """Its rerank and, as Jina has them, OpenAI's embeddings. list_key "" = a bare array."""

    routes = [("POST", r"(?:/v1)?/rerank", "rerank"), ("POST", r"/v1/embeddings", "embeddings")]
    defaults = {**OpenAI.defaults, "errors": "detail", "list_key": "results", "score_key": "relevance_score", "scores": "unit", "sorted": True}

    def parse(self, call, match, body, query):
        if call != "rerank":
            return super().parse(call, match, body, query)
        asked, texts, top = parse_documents(body, {"model", "query", "documents", "top_n", "return_documents", "max_chunks_per_doc", "user"},
                                            "documents", self)
        self.check_model(body.get("model"))
        return Call("rerank", "rerank", body["model"], query=asked, texts=texts, top_n=top, with_text=body.get("return_documents", True))

    def render(self, call):
        if call.kind != "rerank":
            return super().render(call)
        key = self.config["score_key"]
        rows = [{"index": i, key: s, **({"document": {"text": call.texts[i]}} if call.with_text and 0 <= i < len(call.texts) else {})}
                for i, s in call.results]
        if not self.config["list_key"]:
            return Reply(200, dump(rows))
        return Reply(200, dump({"id": "rerank-1", "model": call.model, self.config["list_key"]: rows, **self.usage_of(call)}))


class LlamaCpp(Jina):
    routes = [("POST", r"(?:/v1)?/rerank(?:ing)?", "rerank"), *OpenAI.routes, ("GET", r"/health", "health")]
    defaults = {**Jina.defaults, "errors": "llamacpp", "max_input_tokens": 512, "scores": "logit", "sorted": False, "reasoning": True}

    def parse(self, call, match, body, query):
        if call == "health":
            answer = Call("health", "info")
            answer.info = {"status": "ok"}
            return answer
        return super().parse(call, match, body, query)


class Tei(OpenAI):
    routes = [("POST", r"/embed", "embed"), ("POST", r"/rerank", "rerank"), ("GET", r"/info", "info"), ("GET", r"/health", "health"),
              ("POST", r"(?:/v1)?/embeddings", "embeddings")]
    defaults = {**OpenAI.defaults, "errors": "flat", "max_batch": 32, "max_input_tokens": 512, "max_bytes": 2000000, "auto_truncate": False}
    own_hint = "none"

    def parse(self, call, match, body, query):
        if call in ("info", "health"):
            answer = Call(call, "info")
            answer.info = {} if call == "health" else {
                "model_id": "fake/words", "model_dtype": "float16", "model_type": {"reranker": {"id2label": {}, "label2id": {}}},
                "max_concurrent_requests": 512, "max_input_length": self.config["max_input_tokens"], "max_batch_tokens": 16384,
                "max_batch_requests": None, "max_client_batch_size": self.config["max_batch"],
                "auto_truncate": self.config["auto_truncate"], "version": "1.9.3"}
            return answer
        if call == "embeddings":
            return super().parse(call, match, {"model": "m", **body} if isinstance(body, dict) else body, query)
        if call == "rerank":
            asked, texts, _ = parse_documents(body, {"query", "texts", "raw_scores", "return_text", "truncate", "truncation_direction"},
                                              "texts", self)
            self.check_batch(texts, body.get("truncate", False))
            return Call("rerank", "rerank", query=asked, texts=texts)
        known({"inputs", "truncate", "truncation_direction", "normalize", "prompt_name", "dimensions"}, body, "", self.refuse)
        texts = body.get("inputs")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts:
            raise Refuse(400, "`inputs` cannot be empty", "Empty")
        for text in texts:
            a_string(text, "inputs", self.refuse, True)
        self.check_batch(texts, body.get("truncate", False))
        return Call("embed", "embed", texts=texts, dim=body.get("dimensions") or self.config["dim"])

    def check_batch(self, texts, truncate=False):
        super().check_batch(texts, truncate or self.config["auto_truncate"])

    def render(self, call):
        if call.kind == "rerank":
            reply = Reply(200, dump([{"index": i, "score": s} for i, s in call.results]))
        elif call.route == "embed":
            reply = Reply(200, ("[" + ",".join(map(array_text, call.vectors)) + "]").encode())
        else:
            return super().render(call)
        reply.headers.update({"x-compute-type": "cpu", "x-compute-tokens": str(call.tokens)})
        return reply

    def error_object(self, refused):
        if refused.more.get("route") == "embeddings":
            return super().error_object(refused)
        return {"error": refused.message, "error_type": refused.code if refused.code[0].isupper() else "Validation"}

    def limited(self, kind, wait_s, hint=None):
        reply = self.error(Refuse(429, "Model is overloaded", "Overloaded"))
        reply.headers.update(hint_headers(hint, wait_s))
        return reply


class Ollama(OpenAI):
    """/v1 as OpenAI, with errors of its own, floats whatever was asked for, and no "model not found" but its own text."""

    defaults = {**OpenAI.defaults, "errors": "plain", "encoding": "float"}
    own_hint = "none"

    def check_model(self, model):
        a_string(model, "model", self.refuse)
        if self.config["models"] is not None and model not in self.config["models"]:
            raise Refuse(404, f'model "{model}" not found, try pulling it first')

    def limited(self, kind, wait_s, hint=None):
        reply = self.error(Refuse(503, "server busy, please try again.  maximum pending requests exceeded"))
        reply.headers.update(hint_headers(hint, wait_s))
        return reply


def dialects():
    """By name, which is the first part of a base URL: http://HOST:PORT/<name>..."""
    made = [Gemini("gemini"), OpenAI("openai"), OpenAI("vllm"), Ollama("ollama"), LlamaCpp("llamacpp"), Tei("tei"), Cohere("cohere"), Jina("jina")]
    made[1].config.update({"needs_key": True, "strict": True, "max_batch": 2048, "max_input_tokens": 8192, "token_batch": 300000,
                           "allow_empty": False})
    made[2].config.update({"errors": "vllm"})
    return {one.name: one for one in made}


# What a test gives as base URL for a dialect.
BASE = {"gemini": "/gemini/v1beta", "openai": "/openai/v1", "vllm": "/vllm/v1", "ollama": "/ollama/v1", "llamacpp": "/llamacpp/v1",
        "tei": "/tei", "cohere": "/cohere", "jina": "/jina"}
