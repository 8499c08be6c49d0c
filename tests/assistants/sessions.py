"""sessions.py PROGRAM BIN ASSISTANT...: two sessions of each assistant (`claude`, `codex`; BIN has them) against a
model on 127.0.0.1 and a daemon of its own.

Prints a line for each check and exits with 1 if one fails. The assistants have a temporary home, a made-up key and no
variable of this environment but what is listed here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from model import Call, Model, Say

SESSION_SECONDS = 120
START_SECONDS = 20

SAID = "The staging database is called tern_staging, on port 5433."
NOTED = "Noted: the staging database is tern_staging."
ASKED = "Which port does the staging database use, please?"
ANSWERED = "According to the memory it is port 5433."
THOUGHT = "A thought that nobody said."


def answer(request, prompt, results):
    """The script of the model: notes a fact, and answers the question after a recall."""
    # Requests without tools are the assistant's own, for example for a title.
    if not request.get("tools"):
        return Say("A title")
    if ASKED in prompt:
        if any("hits" in result for result in results) or len(results) > 2:
            return Say(ANSWERED)
        names = json.dumps(request["tools"])
        if "memory_recall" not in names and "ToolSearch" in names and not results:
            return Call("ToolSearch", {"query": "select:mcp__iaid__memory_recall", "max_results": 5})
        is_listed = "memory_recall" in names
        return Call("memory_recall" if is_listed else "mcp__iaid__memory_recall", {"cue": "staging database port"})
    return Say(NOTED, THOUGHT) if SAID in prompt else Say("Nothing to say.")


def manual(start, end):
    """Returns the lines of the manual between these two texts."""
    text = (Path(__file__).parents[2] / "docs/assistants.md").read_text()
    return text.partition(start)[2].partition(end)[0]


class Home:
    """A home with a daemon, in which one assistant runs."""

    def __init__(self, top, name, program, folder, model):
        self.name, self.model = name, model
        self.path = top / name
        self.project = self.path / "my project"
        for made in [self.path / ".local/bin", self.path / "tmp", self.project]:
            made.mkdir(parents=True)
        shutil.copy(program, self.path / ".local/bin/iaid")
        node = os.path.dirname(shutil.which("node") or "/usr/bin/node")
        self.env = {
            "HOME": str(self.path),
            "PATH": f"{self.path}/.local/bin:{folder}:{node}:/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": str(self.path / "tmp"),
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "ANTHROPIC_API_KEY": "none",
            "ANTHROPIC_BASE_URL": model.url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_TELEMETRY": "1",
            # Claude Code refuses to skip its questions as root outside of a sandbox.
            "IS_SANDBOX": "1",
            "MODEL_KEY": "none",
        }
        self.failures = 0

    def run(self, *command):
        try:
            return subprocess.run(command, cwd=self.project, env=self.env, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=SESSION_SECONDS)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, "no end", "", f"no end after {SESSION_SECONDS} s\n")

    def succeeds(self, what, *command):
        done = self.run(*command)
        self.check(what, done.returncode, 0)
        if done.returncode != 0:
            print(done.stdout + done.stderr)
        return done.stdout

    def check(self, what, found, wanted):
        is_well = found == wanted
        print(f"{'PASS' if is_well else 'FAIL'}  {self.name}: {what}")
        if not is_well:
            self.failures += 1
            print(f"      found  {found!r}\n      wanted {wanted!r}")

    def file(self, name):
        path = self.path / name
        return path.read_text() if path.exists() else None

    def daemon(self):
        log = open(self.path / "daemon.log", "w")
        daemon = subprocess.Popen([self.path / ".local/bin/iaid", "serve"], env={"HOME": str(self.path)}, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while self.run("iaid", "status").returncode != 0:
            if daemon.poll() is not None or time.monotonic() > deadline:
                daemon.kill()
                sys.exit("the daemon does not answer:\n" + self.file("daemon.log"))
            time.sleep(0.05)
        return daemon

    def records(self):
        self.run("iaid", "export", str(self.path / "export"))
        rows = map(json.loads, (self.path / "export").read_text().splitlines())
        return [row for row in rows if row.get("kind") == "record"]


def sessions(home, ask, transcripts):
    """Runs the two sessions and checks what was stored and told."""
    home.succeeds("the first session ends well", *ask, SAID)
    home.succeeds("the second session ends well", *ask, ASKED)
    records = home.records()
    turns = sorted((record["role"], record["text"]) for record in records)
    wanted = [("user", SAID), ("assistant", NOTED), ("user", ASKED), ("assistant", ANSWERED)]
    home.check("each turn is stored once, as who said it, and nothing else", turns, sorted(wanted))
    by_session = {}
    for record in records:
        by_session.setdefault(record["session_id"], set()).add(record["text"])
    home.check("each session has its own turns", sorted(map(sorted, by_session.values())),
               sorted(map(sorted, [{SAID, NOTED}, {ASKED, ANSWERED}])))
    home.check("the turns belong to the folder", {record.get("project") for record in records}, {str(home.project)})

    second = [text for text in (json.dumps(request, ensure_ascii=False) for request in home.model.requests)
              if ASKED in text]
    told = [text.partition("<iaid-memory>")[2].partition("</iaid-memory>")[0] for text in second]
    home.check("the second session is told of the first", any(SAID in text for text in told), True)
    recalled = [text.partition('\\"hits\\":[{')[2] for text in second]
    home.check("its recall finds the first", any("tern_staging" in text for text in recalled), True)
    said = home.succeeds("an import afterwards succeeds", "iaid", "import", str(home.path / transcripts))
    home.check("it brings nothing new", len(home.records()), len(records))
    home.check("it says so", re.findall(r"(\d+) new", said), ["0"])


def claude(home):
    settings = '{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"true"}]}]},"includeCoAuthoredBy":false}\n'
    (home.path / ".claude").mkdir()
    (home.path / ".claude/settings.json").write_text(settings)
    home.succeeds("install succeeds", "iaid", "install", "--claude-code", "--yes")
    ask = ["claude", "--allowedTools", "mcp__iaid,ToolSearch", "-p"]
    sessions(home, ask, ".claude/projects")
    left = json.loads(home.file(".claude.json"))
    home.check("Claude Code has written its file", len(left) > 1, True)
    left["mcpServers"].pop("iaid")
    if not left["mcpServers"]:
        left.pop("mcpServers")
    home.succeeds("uninstall succeeds", "iaid", "uninstall", "--claude-code", "--yes")
    home.check("uninstall leaves .claude.json but for the entry", json.loads(home.file(".claude.json")), left)
    home.check("uninstall leaves settings.json as it was", home.file(".claude/settings.json"), settings)

    by_hand = manual("For Claude Code and all projects:\n\n```sh\n", "\n```")
    home.succeeds("the manual's command succeeds", *by_hand.split())
    listed = home.succeeds("claude lists its servers", "claude", "mcp", "list")
    home.check("its server answers", "Connected" in listed, True)
    home.succeeds("uninstall succeeds after the manual's command", "iaid", "uninstall", "--claude-code", "--yes")
    servers = json.loads(home.file(".claude.json")).get("mcpServers", {})
    home.check("uninstall takes that entry out", "iaid" in servers, False)


def codex(home):
    config = f"""model = "scripted"
model_provider = "local"

[model_providers.local]
name = "Local"
base_url = "{home.model.url}/v1"
env_key = "MODEL_KEY"
wire_api = "responses"
"""
    (home.path / ".codex").mkdir()
    (home.path / ".codex/config.toml").write_text(config)
    home.succeeds("install succeeds", "iaid", "install", "--codex", "--yes")
    ask = ["codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-hook-trust"]
    sessions(home, ask, ".codex/sessions")
    home.succeeds("uninstall succeeds", "iaid", "uninstall", "--codex", "--yes")
    home.check("uninstall leaves config.toml as it was", home.file(".codex/config.toml"), config)
    home.check("uninstall leaves no hooks.json", home.file(".codex/hooks.json"), None)

    home.succeeds("install succeeds again", "iaid", "install", "--codex", "--yes")
    home.succeeds("codex enables a feature", "codex", "features", "enable", "goals")
    home.succeeds("codex adds a server", "codex", "mcp", "add", "other", "--", "/bin/true")
    listed = json.loads(home.succeeds("codex lists its servers", "codex", "mcp", "list", "--json"))
    home.check("both servers are listed", sorted(server["name"] for server in listed), ["iaid", "other"])
    home.succeeds("uninstall succeeds after edits", "iaid", "uninstall", "--codex", "--yes")
    left = home.file(".codex/config.toml")
    home.check("uninstall takes the entry out", "iaid" in left, False)
    home.check("it leaves the feature", "goals = true" in left, True)
    listed = json.loads(home.succeeds("codex lists its servers again", "codex", "mcp", "list", "--json"))
    home.check("it leaves the other server", [server["name"] for server in listed], ["other"])

    by_hand = manual("For Codex, in `~/.codex/config.toml`:\n\n```toml\n", "```")
    (home.path / ".codex/config.toml").write_text(left + by_hand)
    listed = json.loads(home.succeeds("codex accepts the manual's lines", "codex", "mcp", "list", "--json"))
    home.check("it knows their server", sorted(server["name"] for server in listed), ["iaid", "other"])
    home.succeeds("uninstall succeeds after the manual's lines", "iaid", "uninstall", "--codex", "--yes")
    home.check("uninstall takes those lines out", home.file(".codex/config.toml"), left)


def main():
    program, folder, *names = sys.argv[1:]
    failures = 0
    with tempfile.TemporaryDirectory(prefix="iaid-assistants-") as top:
        for name in names:
            home = Home(Path(top), name, program, folder, Model(answer))
            daemon = home.daemon()
            try:
                {"claude": claude, "codex": codex}[name](home)
            finally:
                daemon.terminate()
                daemon.wait()
                home.model.shutdown()
            failures += home.failures
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
