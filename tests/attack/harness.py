"""Starts a daemon for each attack, attacks it from processes of their own, and times an innocent client meanwhile."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

# Longest wait for one reply, for a start, and for an end. Long: a busy machine is no failure.
PATIENCE_SECONDS = 60

# Longest wait for the check after an attack, whose calls may still be queued.
CHECK_SECONDS = 300

# Attackers are forked: they share the program's modules and need no arguments to be pickled.
FORK = multiprocessing.get_context("fork")


class Failed(Exception):
    """An attack that succeeded: the daemon did not do what it has to do."""


class Skipped(Exception):
    """The machine lacks a right or a program that the attack needs."""


class Refused(Exception):
    """An error reply."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.code, self.message = error["code"], error["message"]


class Daemon:
    """A daemon with a store and a socket in a new folder."""

    def __init__(self, program, *options, prefix=(), env=None):
        self.program, self.options, self.prefix = program, options, prefix
        self.home = tempfile.mkdtemp(prefix="iaid-attack-")
        self.socket, self.store = os.path.join(self.home, "d.sock"), os.path.join(self.home, "store")
        self.log = os.path.join(self.home, "log")
        self.env = {"HOME": self.home, "PATH": os.environ.get("PATH", ""), "STORE": self.store, **(env or {})}
        self.process = None
        try:
            self.start()
        except BaseException:
            self.remove()
            raise

    def start(self):
        command = [*self.prefix, self.program, "serve", "--socket", self.socket, "--store", self.store, *self.options]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                            env=self.env)
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.client().close()
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"the daemon does not start: {self.said()}") from error
                time.sleep(0.005)

    def client(self):
        return Client(self.socket)

    def status(self):
        with self.client() as client:
            client.send(b'{"type":"status"}\n')
            return json.loads(client.line())

    def said(self):
        """Returns the end of the log."""
        with open(self.log, errors="replace") as log:
            return log.read()[-2000:]

    def peak_kib(self):
        """Returns the largest resident size since the start."""
        with open(f"/proc/{self.process.pid}/status") as status:
            fields = dict(line.split(":", 1) for line in status)
        return int(fields["VmHWM"].split()[0])

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def end(self):
        """Stops the daemon, which must still run and end well, and removes its folder."""
        try:
            if self.process.poll() is not None:
                raise Failed(f"the daemon has ended with status {self.process.returncode}: {self.said()}")
            self.process.terminate()
            if self.process.wait(PATIENCE_SECONDS) != 0:
                raise Failed(f"the daemon stopped with status {self.process.returncode}: {self.said()}")
            if "panicked" in self.said():
                raise Failed(f"a panic is in the log: {self.said()}")
        finally:
            self.remove()

    def remove(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


class Client:
    """A connection that sends lines and reads replies."""

    def __init__(self, path, patience=PATIENCE_SECONDS):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # With a timeout of Python's, a connect that has to wait for the daemon's accept would fail at once.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", patience, 0))
        self.socket.connect(path)
        self.socket.settimeout(patience)
        self.rest, self.ident = bytearray(), 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """Returns the next reply; raises ConnectionError at the end of the stream."""
        searched = 0
        while True:
            at = self.rest.find(b"\n", searched)
            if at >= 0:
                line = bytes(self.rest[:at])
                del self.rest[:at + 1]
                return line
            searched = len(self.rest)
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            self.rest += data

    def call(self, method, **params):
        """Calls a method and returns its result; raises Refused for an error."""
        self.ident += 1
        self.send(request(self.ident, method, **params))
        reply = json.loads(self.line())
        if "error" in reply:
            raise Refused(reply["error"])
        if reply["id"] != self.ident:
            raise Failed(f"the reply to {self.ident} has the id {reply['id']}")
        return reply["result"]


def request(ident, method, **params):
    """Returns the line of a call."""
    call = {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}
    return json.dumps(call, separators=(",", ":")).encode() + b"\n"


class Innocent:
    """A client that captures and recalls, and times each reply."""

    def __init__(self, daemon):
        self.daemon, self.seconds, self.texts, self.refused = daemon, [], [], 0

    def step(self):
        text = f"The innocent client number {os.getpid()} keeps note {len(self.texts)} of the tide tables."
        with self.daemon.client() as client:
            began = time.monotonic()
            try:
                client.call("memory_capture", text=text, session_id="innocent")
                self.texts.append(text)
            except Refused:
                self.refused += 1
            self.seconds.append(time.monotonic() - began)

    def run_while(self, is_going_on):
        while is_going_on():
            self.step()
            time.sleep(0.005)

    def p99_ms(self):
        ranked = sorted(self.seconds)
        return ranked[max(0, -(-len(ranked) * 99 // 100) - 1)] * 1000 if ranked else 0.0


def beside(daemon, attackers, seconds):
    """Runs each attacker in a process of its own, and an innocent client until all have ended. Returns that client.

    An attacker is called with the time at which it has to end. One that raises has failed."""
    innocent = Innocent(daemon)
    until = time.monotonic() + seconds
    processes = [FORK.Process(target=quietly, args=(attacker, until), daemon=True) for attacker in attackers]
    for process in processes:
        process.start()
    late = until + PATIENCE_SECONDS
    try:
        innocent.run_while(lambda: any(p.is_alive() for p in processes) and time.monotonic() < late)
        innocent.step()
    finally:
        for process in processes:
            process.kill()
            process.join()
    if daemon.process.poll() is not None:
        raise Failed(f"the daemon has ended with status {daemon.process.returncode}: {daemon.said()}")
    failed = [process.exitcode for process in processes if process.exitcode not in (0, -signal.SIGKILL)]
    if failed:
        raise Failed(f"{len(failed)} of {len(processes)} attackers met an unexpected answer; see above")
    return innocent


def quietly(attacker, until):
    """Runs an attacker: that the daemon closes a connection is one of its defenses."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        attacker(until)
    except ConnectionError:
        pass


def stored(daemon):
    """Returns the texts of all records."""
    texts, cursor = set(), None
    with Client(daemon.socket, CHECK_SECONDS) as client:
        while True:
            page = client.call("store_export", cursor=cursor)
            texts.update(row["text"] for row in page["rows"] if row["kind"] == "record")
            cursor = page["cursor"]
            if cursor is None:
                return texts
