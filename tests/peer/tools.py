"""Calls each tool of the MCP wrapper of iai-mcp 3.3.0 with iaid as the daemon behind it.

usage: tools.py PROGRAM WRAPPER
"""

import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

PROGRAM, WRAPPER = sys.argv[1:]
PATIENCE_SECONDS = 120

# The tools with arguments, and what their result must show. `{id}` is the id of a captured record.
CALLS = [
    ("memory_capture", {"text": "The staging server listens on port 5430.", "session_id": "a",
                        "epistemic_status": "estimate"}, lambda r: r["status"] == "inserted"),
    ("memory_capture", {"text": "The staging server listens on port 5431.", "session_id": "a"},
     lambda r: r["status"] == "inserted"),
    ("memory_recall", {"cue": "port 5430"},
     lambda r: "5430" in r["hits"][0]["literal_surface"] and r["hits"][0]["epistemic_status"] == "estimate"),
    ("memory_search", {"query": "staging port 5431"}, lambda r: "5431" in r["hits"][0]["surface"]),
    ("memory_recall_structural", {"structure_query": {"role": "user"}}, lambda r: r["hits"] == []),
    ("memory_recall_structural", {"structure_query": {"who": "user"}}, lambda r: len(r["hits"]) == 2),
    ("memory_temporal_recall", {"cue": "port", "as_of": "2999-01-01T00:00:00Z",
                                "changed_since": "2000-01-01T00:00:00Z"},
     lambda r: len(r["hits"]) == 2 and r["_scope"] == "committed_by_time_t"),
    ("episodes_recent", {"n": 5}, lambda r: r["count"] == 2 and "543" in r["turns"][0]["literal_surface"]),
    ("claim_check", {"cue": "staging is on port 5431"}, lambda r: r["verdict"]["tier"] == "CURRENT"),
    ("memory_reinforce", {"ids": ["{id}", "{other}"]}, lambda r: r["edges_boosted"] == 1),
    ("memory_contradict", {"id": "{id}", "new_fact": "The staging server listens on port 5432."},
     lambda r: r["original_id"]),
    ("claim_check", {"cue": "staging is on port 5430"}, lambda r: r["verdict"]["tier"] == "CONTRADICTED"),
    ("memory_consolidate", {}, lambda r: "mode" in r),
    ("profile_get_set", {"operation": "get", "knob": "wake_depth"}, lambda r: "minimal" in json.dumps(r)),
    ("profile_get_set", {"operation": "set", "knob": "wake_depth", "value": "standard"}, lambda r: "ok" in json.dumps(r)),
    ("curiosity_pending", {}, lambda r: r["count"] == 1),
    ("schema_list", {}, lambda r: "schemas" in r),
    ("events_query", {"kind": "session_started"}, lambda r: "error" not in r and r["count"] >= 0),
    ("events_query", {"kind": "s4_contradiction"}, lambda r: r["count"] == 1),
    ("topology", {}, lambda r: r["N"] == 3),
]

failures = []


def check(holds, what, got=""):
    print(("ok      " if holds else "FAILED  ") + what)
    if not holds:
        failures.append(what)
        print(f"        {got}")


class Wrapper:
    """The wrapper as a process, one request at a time."""

    def __init__(self, environment):
        self.process = subprocess.Popen(
            ["node", WRAPPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.sent = 0

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def request(self, method, params):
        self.sent += 1
        message = {"jsonrpc": "2.0", "id": self.sent, "method": method, "params": params}
        self.send(message)
        while True:
            reply = self.lines.get(timeout=PATIENCE_SECONDS)
            if reply.get("id") == self.sent:
                return reply

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()


def ask(path, message):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(path)
        connection.sendall(json.dumps(message).encode() + b"\n")
        return json.loads(connection.makefile("rb").readline())


def main():
    home = tempfile.mkdtemp(prefix="iaid-peer-")
    environment = {"PATH": os.environ["PATH"], "HOME": home}
    daemon = subprocess.Popen([PROGRAM, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
    wrapper = None
    try:
        path = home + "/.iai-mcp/.daemon.sock"
        deadline = threading.Event()
        for _ in range(PATIENCE_SECONDS * 50):
            if os.path.exists(path):
                break
            deadline.wait(0.02)
        wrapper = Wrapper(environment)
        started = wrapper.request("initialize", {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
        check("result" in started, "the wrapper starts", started)
        wrapper.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        listed = {tool["name"] for tool in wrapper.request("tools/list", {})["result"]["tools"]}
        check(len(listed) == 15, "the wrapper lists 15 tools", sorted(listed))
        check(listed == {name for name, _, _ in CALLS}, "each tool is called", listed ^ {n for n, _, _ in CALLS})
        ids = []
        for name, arguments, is_right in CALLS:
            text = json.dumps(arguments)
            for mark, at in (("{id}", 0), ("{other}", 1)):
                text = text.replace(mark, ids[at] if len(ids) > at else "")
            reply = wrapper.request("tools/call", {"name": name, "arguments": json.loads(text)})
            try:
                result = reply["result"]
                got = result.get("structuredContent") or json.loads(result["content"][0]["text"])
                holds = not result.get("isError") and got.get("_source") != "direct-store" and is_right(got)
            except (KeyError, IndexError, ValueError) as error:
                holds, got = False, f"{error!r} {reply}"
            check(holds, f"{name} {text[:60]}", reply)
            if name == "memory_capture" and holds:
                ids.append(got["record_id"])
        # What its hooks and its command line call on the socket.
        for method, params in [
            ("status_light", {}),
            ("session_refresh_if_stale", {"watermark": "2000-01-01T00:00:00+00:00", "session_id": "b"}),
            ("memory_recall", {"cue": "port", "session_id": "b", "budget_tokens": 1500, "limit": 3}),
            ("session_start_payload", {"session_id": "b"}),
        ]:
            reply = ask(path, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            check("result" in reply, f"{method} on the socket", reply)
        reply = ask(path, {"type": "embed_cue", "cue": "port"})
        check(reply == {"ok": False, "reason": "daemon_not_ready"}, "embed_cue", reply)
    finally:
        if wrapper:
            wrapper.process.kill()
            wrapper.process.wait()
        daemon.terminate()
        _, log = daemon.communicate(timeout=PATIENCE_SECONDS)
        shutil.rmtree(home)
    if failures:
        print(log, file=sys.stderr)
        sys.exit(f"{len(failures)} checks failed")


main()
