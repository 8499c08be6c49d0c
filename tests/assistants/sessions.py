"""sessions.py PROGRAM BIN ASSISTANT...: two sessions of each assistant (BIN has them) against a
model on 127.0.0.1 and a daemon of its own.

Prints a line for each check and exits with 1 if one fails. The assistants have a temporary home, a made-up key and no
variable of this environment but what is listed here.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from model import Call, Model, Say

SESSION_SECONDS = 400
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
        # pi has no tools of other programs.
        if "memory_" not in json.dumps(request["tools"]) and "ToolSearch" not in json.dumps(request["tools"]):
            return Say(ANSWERED)
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
        self.has_hooks = True
        self.path = top / name
        self.project = self.path / "my project"
        for made in [self.path / ".local/bin", self.path / "tmp", self.project]:
            made.mkdir(parents=True)
        shutil.copy(program, self.path / ".local/bin/iaid")
        node = os.path.dirname(shutil.which("node") or "/usr/bin/node")
        if name == "pi" and "PI_NODE" in os.environ:
            node = os.environ["PI_NODE"]
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
            "COPILOT_PROVIDER_BASE_URL": f"{model.url}/v1",
            "COPILOT_PROVIDER_API_KEY": "none",
            "COPILOT_MODEL": "scripted",
            "COPILOT_OFFLINE": "true",
            "GEMINI_API_KEY": "none",
            "GOOGLE_GEMINI_BASE_URL": model.url,
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"{model.url}/v1",
            "OPENAI_MODEL": "scripted",
            "PI_OFFLINE": "1",
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


    def tags(self):
        rows = map(json.loads, (self.path / "export").read_text().splitlines())
        return {row["name"] for row in rows if row.get("kind") == "tag"}


def sessions(home, ask, transcripts, assistant):
    """Runs the two sessions and checks what was stored and told."""
    home.succeeds("the first session ends well", *ask(SAID))
    home.succeeds("the second session ends well", *ask(ASKED))
    second = [text for text in (json.dumps(request, ensure_ascii=False) for request in home.model.requests)
              if ASKED in text]
    # Gemini CLI and Qwen Code escape what a hook gives them.
    plain = [text.replace("&lt;", "<").replace("&gt;", ">") for text in second]
    told = [part.partition("</iaid-memory>")[0] for text in plain for part in text.split("<iaid-memory>")[1:]]
    home.check("the second session is told of the first", any(SAID in text for text in told), True)
    home.check("it is told so at its start", any("earlier sessions" in text and SAID in text and
                                                 "bear on this" not in text.partition(SAID)[0] for text in told), True)
    recalled = [text.partition("hits")[2] for text in second]
    home.check("its recall finds the first", any("tern_staging" in text for text in recalled), True)
    stored(home, transcripts, assistant)


def stored(home, transcripts, assistant):
    """Checks the turns of the two sessions, and that an import of their transcripts brings nothing new."""
    # Copilot CLI may end before its last answer is on disk; the next session's hook would read it.
    said = home.succeeds("an import afterwards succeeds", "iaid", "import", str(home.path / transcripts))
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
    home.check("the records name the assistant", {tag for tag in home.tags() if tag.startswith("assistant:")},
               {f"assistant:{assistant}"})
    wanted = ["0"] if home.has_hooks else ["4"]
    home.check("the import brings what no hook has brought", re.findall(r"(\d+) new", said), wanted)
    home.check("and no line of unknown kind", "unknown" in said, False)
    said = home.succeeds("a second import succeeds", "iaid", "import", str(home.path / transcripts))
    home.check("it brings nothing new", re.findall(r"(\d+) new", said), ["0"])


def claude(home):
    settings = '{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"true"}]}]},"includeCoAuthoredBy":false}\n'
    (home.path / ".claude").mkdir()
    (home.path / ".claude/settings.json").write_text(settings)
    home.succeeds("install succeeds", "iaid", "install", "--claude-code", "--yes")
    ask = ["claude", "--allowedTools", "mcp__iaid,ToolSearch", "-p"]
    sessions(home, lambda text: [*ask, text], ".claude/projects", "claude-code")
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
    sessions(home, lambda text: [*ask, text], ".codex/sessions", "codex")
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


def hooked(home, option, files, ask, transcripts):
    """Installs, runs the sessions and uninstalls. `files` has the text of each settings file before, `None` if there is
    none."""
    for name, text in files.items():
        (home.path / name).parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            (home.path / name).write_text(text)
    home.succeeds("install succeeds", "iaid", "install", f"--{option}", "--yes")
    again = home.succeeds("install succeeds again", "iaid", "install", f"--{option}", "--yes")
    home.check("it has nothing to do", "nothing to do" in again, True)
    sessions(home, ask, transcripts, option)
    report = json.loads(home.run("iaid", "--json", "doctor").stdout)
    findings = [check for check in report["checks"] if check["check"] == option]
    home.check("doctor has no complaint about it", [check for check in findings if check["verdict"] != "PASS"], [])
    home.succeeds("uninstall succeeds", "iaid", "uninstall", f"--{option}", "--yes")
    for name, text in files.items():
        home.check(f"uninstall leaves {name} as it was", home.file(name), text)
    home.check("uninstall leaves nothing of iaid", sorted(
        str(path.relative_to(home.path)) for name in files for path in (home.path / name).parent.glob("*iaid*")), [])


COMMENTED = """{
  // The user's own.
  "hooks": {"%s": [{"hooks": [{"type": "command", "command": "true"}]}]}, // kept
  %s
}
"""


def copilot(home):
    files = {".copilot/mcp-config.json": None, ".copilot/settings.json": None}
    ask = lambda text: ["copilot", "--allow-all-tools", "-p", text]
    hooked(home, "copilot", files, ask, ".copilot/session-state")


def gemini(home):
    own = '"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": false}'
    files = {".gemini/settings.json": COMMENTED % ("AfterAgent", own)}
    hooked(home, "gemini", files, lambda text: ["gemini", "--yolo", "-p", text], ".gemini/tmp")


def qwen(home):
    own = {"security": {"auth": {"selectedType": "openai"}}, "privacy": {"usageStatisticsEnabled": False},
           "$version": 4}
    files = {".qwen/settings.json": json.dumps(own, indent=2)}
    hooked(home, "qwen", files, lambda text: ["qwen", "--yolo", "-p", text], ".qwen/projects")


def opencode(home):
    own = {"npm": "@ai-sdk/openai-compatible", "name": "Local", "models": {"scripted": {"name": "Scripted"}},
           "options": {"baseURL": f"{home.model.url}/v1", "apiKey": "none"}}
    config = f"""{{
  "$schema": "https://opencode.ai/config.json",
  // The user's own.
  "model": "local/scripted", "small_model": "local/scripted", "autoupdate": false,
  "provider": {{"local": {json.dumps(own)}}}, // kept
}}
"""
    files = {".config/opencode/opencode.jsonc": config, ".config/opencode/plugin/iaid.js": None}
    # It puts an argument with spaces into quotation marks.
    ask = lambda text: ["opencode", "run", *text.split(" ")]
    hooked(home, "opencode", files, ask, ".local/share/opencode/opencode.db")
    with sqlite3.connect(home.path / ".local/share/opencode/opencode.db") as database:
        ids = [row[0] for row in database.execute("SELECT id FROM session WHERE parent_id IS NULL")]
    home.check("it has two sessions", len(ids), 2)
    for number, id in enumerate(ids):
        export = home.path / f"export-{number}.json"
        export.write_text(home.succeeds("opencode exports a session", "opencode", "export", id))
        said = home.succeeds("iaid imports the export", "iaid", "import", str(export))
        home.check("the export adds nothing", "0 new" in said and "0 refused" in said and " 0 known" not in said, True)


def pi(home):
    own = {"baseUrl": f"{home.model.url}/v1", "api": "openai-completions", "apiKey": "none",
           "models": [{"id": "scripted"}]}
    (home.path / ".pi/agent").mkdir(parents=True)
    (home.path / ".pi/agent/models.json").write_text(json.dumps({"providers": {"local": own}}))
    said = home.run("iaid", "install", "--dry-run").stderr
    home.check("install says that it sets nothing up", "pi has no MCP servers" in said, True)
    home.has_hooks = False
    for text in [SAID, ASKED]:
        home.succeeds("a session ends well", "pi", "--provider", "local", "--model", "scripted", "-p", text)
    stored(home, ".pi/agent/sessions", "pi")


def main():
    program, folder, *names = sys.argv[1:]
    failures = 0
    with tempfile.TemporaryDirectory(prefix="iaid-assistants-") as top:
        for name in names:
            home = Home(Path(top), name, program, folder, Model(answer))
            daemon = home.daemon()
            try:
                globals()[name](home)
            finally:
                daemon.terminate()
                daemon.wait()
                home.model.shutdown()
            failures += home.failures
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
