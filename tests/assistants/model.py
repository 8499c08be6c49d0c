"""A model on 127.0.0.1 that says what a script tells it to, over the streaming APIs that the assistants speak:
Anthropic's Messages (Claude Code), OpenAI's Responses (Codex) and Chat Completions (Copilot CLI, Qwen Code, opencode,
pi), and Gemini's (Gemini CLI).

It keeps the body of each request, so that a test sees what an assistant was given. It has no other side effect.
"""

import gzip
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Say:
    """An answer that ends the turn: a text, with a thought before it if one is given."""

    def __init__(self, text, thought=None):
        self.text, self.thought = text, thought


class Call:
    """A call of a tool. Its name is looked up among the tools of the request by its end."""

    def __init__(self, tool, arguments):
        self.tool, self.arguments = tool, arguments


class Model(ThreadingHTTPServer):
    """Listens on a free port; `answer(request, prompt, results)` returns a `Say` or a `Call`.

    `request` is the body, `prompt` the user's last text, `results` what tools have given back since, as text.
    """

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.reply({})

    def do_GET(self):
        self.reply({"object": "list", "data": [], "models": []})

    def do_POST(self):
        body = json.loads(self.body() or b"{}")
        path = self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            return self.reply({"input_tokens": 100})
        self.server.requests.append(body)
        if path.endswith("/messages"):
            return self.answer_messages(body)
        if path.endswith("/responses"):
            return self.answer_responses(body)
        if path.endswith("/chat/completions"):
            return self.answer_chat(body)
        if path.endswith("enerateContent"):
            return self.answer_gemini(body, "stream" in path)
        self.reply({"error": {"type": "not_found_error", "message": f"no such path: {path}"}}, 404)

    def body(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(parts)
        else:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
        return gzip.decompress(data) if self.headers.get("content-encoding") == "gzip" else data

    def reply(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, kind, **members):
        data = json.dumps({"type": kind, **members})
        self.wfile.write(f"event: {kind}\ndata: {data}\n\n".encode())
        self.wfile.flush()

    # Anthropic Messages

    def answer_messages(self, body):
        prompt, results = messages_input(body["messages"])
        answer = self.server.answer(body, prompt, results)
        if isinstance(answer, Call):
            name = named([tool.get("name", "") for tool in body.get("tools", [])], answer.tool)
            blocks = [{"type": "tool_use", "id": unique("toolu"), "name": name, "input": answer.arguments}]
        else:
            blocks = [{"type": "thinking", "thinking": answer.thought, "signature": "c2ln"}] if answer.thought else []
            blocks.append({"type": "text", "text": answer.text})
        reason = "tool_use" if isinstance(answer, Call) else "end_turn"
        usage = {"input_tokens": 100, "output_tokens": 20}
        message = {"id": unique("msg"), "type": "message", "role": "assistant", "model": body.get("model"),
                   "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        if not body.get("stream"):
            return self.reply({**message, "content": blocks, "stop_reason": reason})
        self.stream()
        self.event("message_start", message=message)
        for index, block in enumerate(blocks):
            start, deltas = block_events(block)
            self.event("content_block_start", index=index, content_block=start)
            for delta in deltas:
                self.event("content_block_delta", index=index, delta=delta)
            self.event("content_block_stop", index=index)
        self.event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 20})
        self.event("message_stop")

    # OpenAI Responses

    def answer_responses(self, body):
        prompt, results = responses_input(body["input"])
        answer = self.server.answer(body, prompt, results)
        response = {"id": unique("resp"), "object": "response", "status": "in_progress", "output": []}
        self.stream()
        self.event("response.created", response=response)
        items = []
        if isinstance(answer, Call):
            tools = responses_tools(body.get("tools", []))
            name = named(tools, answer.tool)
            item = {"type": "function_call", "id": unique("fc"), "call_id": unique("call"), "name": name,
                    "arguments": json.dumps(answer.arguments), "status": "completed"}
            items.append(item if tools.get(name) is None else {**item, "namespace": tools[name]})
        else:
            if answer.thought:
                summary = [{"type": "summary_text", "text": answer.thought}]
                items.append({"type": "reasoning", "id": unique("rs"), "summary": summary, "encrypted_content": None})
            content = [{"type": "output_text", "text": answer.text, "annotations": []}]
            items.append({"type": "message", "id": unique("msg"), "role": "assistant", "status": "completed",
                          "content": content})
        for index, item in enumerate(items):
            empty = {**item, "content": []} if item["type"] == "message" else item
            self.event("response.output_item.added", output_index=index, item=empty)
            if item["type"] == "message":
                self.event("response.output_text.delta", item_id=item["id"], output_index=index, content_index=0,
                           delta=answer.text)
            self.event("response.output_item.done", output_index=index, item=item)
        usage = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 20,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 120}
        self.event("response.completed", response={**response, "status": "completed", "output": items, "usage": usage})


    # OpenAI Chat Completions

    def answer_chat(self, body):
        prompt, results = chat_input(body["messages"])
        answer = self.server.answer(body, prompt, results)
        message = {"role": "assistant", "content": "" if isinstance(answer, Call) else answer.text}
        if isinstance(answer, Call):
            name = named([tool["function"]["name"] for tool in body.get("tools", [])], answer.tool)
            function = {"name": name, "arguments": json.dumps(answer.arguments)}
            message["tool_calls"] = [{"index": 0, "id": unique("call"), "type": "function", "function": function}]
        reason = "tool_calls" if isinstance(answer, Call) else "stop"
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        base = {"id": unique("chatcmpl"), "created": 0, "model": body.get("model"), "usage": usage}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return self.reply({**base, "object": "chat.completion", "choices": [choice]})
        self.stream()
        for delta, reason in [(message, None), ({}, reason)]:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            self.data({**base, "object": "chat.completion.chunk", "choices": [choice]})
        self.wfile.write(b"data: [DONE]\n\n")

    # Gemini

    def answer_gemini(self, body, is_stream):
        prompt, results = gemini_input(body["contents"])
        answer = self.server.answer(body, prompt, results)
        if "responseJsonSchema" in json.dumps(body.get("generationConfig", {})):
            # The assistant's own question, which model to take or who speaks next.
            parts = [{"text": json.dumps({"reasoning": "-", "next_speaker": "user", "model_choice": "pro",
                                          "complexity_score": 50, "complexity_reasoning": "-"})}]
        elif isinstance(answer, Call):
            names = [function["name"] for tool in body["tools"] for function in tool["functionDeclarations"]]
            parts = [{"functionCall": {"name": named(names, answer.tool), "args": answer.arguments}}]
        else:
            parts = [{"text": answer.thought, "thought": True}] if answer.thought else []
            parts.append({"text": answer.text})
        candidate = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}
        response = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}
        if not is_stream:
            return self.reply(response)
        self.stream()
        self.data(response)

    def data(self, value):
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()


def block_events(block):
    """Returns the empty block with which a content block starts, and its deltas."""
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": block["thinking"]},
                  {"type": "signature_delta", "signature": block["signature"]}]
        return {**block, "thinking": "", "signature": ""}, deltas
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]


def messages_input(messages):
    """Returns the user's last text and the results of tools since."""
    results = []
    for message in reversed(messages):
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found = [text_of(block.get("content")) for block in blocks if block["type"] == "tool_result"]
        results = found + results
        if message["role"] == "user" and not found:
            return "\n".join(block.get("text", "") for block in blocks), results
    return "", results


def chat_input(messages):
    """Returns the user's last text and the results of tools since."""
    results = []
    for message in reversed(messages):
        if message["role"] == "tool":
            results.insert(0, text_of(message.get("content")))
        if message["role"] == "user":
            return text_of(message["content"]), results
    return "", results


def gemini_input(contents):
    """Returns the user's last text and the results of tools since."""
    results = []
    for content in reversed(contents):
        if content.get("role") != "user":
            continue
        parts = content.get("parts", [])
        found = [json.dumps(part["functionResponse"].get("response")) for part in parts if "functionResponse" in part]
        results = found + results
        if not found:
            return "\n".join(part.get("text", "") for part in parts), results
    return "", results


def responses_input(items):
    """Returns the user's last text and the results of tools since."""
    results = []
    for item in reversed(items):
        if item.get("type", "").endswith("_output"):
            results.insert(0, text_of(item["output"]))
        if item.get("role") == "user":
            return text_of(item["content"]), results
    return "", results


def responses_tools(tools, namespace=None):
    """Returns the names of the tools, each with its namespace."""
    found = {}
    for tool in tools:
        if tool.get("type") == "namespace":
            found.update(responses_tools(tool["tools"], tool["name"]))
        elif "name" in tool:
            found[tool["name"]] = namespace
    return found


def text_of(content):
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def named(names, end):
    """Returns the name that ends so, or `end` itself: a tool may be callable without being listed."""
    return next((name for name in names if name.endswith(end)), end)


def unique(prefix):
    return f"{prefix}_{uuid.uuid4().hex[:20]}"
