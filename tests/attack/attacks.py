"""The attacks. Each is a function that gets an `Attack`, attacks a daemon and returns the innocent client."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time

from harness import CHECK_SECONDS, Client, Daemon, Failed, Innocent, Refused, Skipped, beside, request, stored

MIB = 1 << 20

# --max-memory of the attacks on memory, and what the daemon may use above twice of it.
LIMIT_MIB = 16
BASE_MIB = 16


class Attack:
    """What an attack is run with."""

    def __init__(self, program, is_short):
        self.program, self.is_short, self.daemons = program, is_short, []
        self.seconds = 0.7 if is_short else 8.0

    def count(self, whole):
        """Returns the number of connections, rounds or lines: a tenth in the short form."""
        return max(2, whole // 10) if self.is_short else whole

    def daemon(self, *options, **how):
        return self.adopt(Daemon(self.program, *options, **how))

    def adopt(self, daemon):
        """Has the daemon removed at the end of the attack, whatever happens."""
        self.daemons.append(daemon)
        return daemon


def fill(daemon, count=200, size=1000):
    """Captures texts that recalls and exports find."""
    with daemon.client() as client:
        for n in range(count):
            client.call("memory_capture", text=f"Stored text {n}: " + f"harbour tide {n} " * (size // 16), session_id="fill")


def connections(daemon, count):
    """Opens connections; as many as the daemon and this process may have."""
    opened = []
    for _ in range(count):
        try:
            opened.append(Client(daemon.socket))
        except OSError:
            break
    return opened


def hold(opened, until):
    """Keeps connections open and reads nothing."""
    time.sleep(max(0.0, until - time.monotonic()))
    for client in opened:
        client.close()


def slow(attack):
    """200 connections that send their lines a byte at a time"""
    daemon = attack.daemon()

    def attacker(until):
        opened, line, at = connections(daemon, 200), request(1, "memory_recall", cue="tide"), 0
        while time.monotonic() < until:
            for client in opened:
                client.send(line[at % len(line):][:1])
            at += 1
    return daemon, beside(daemon, [attacker], attack.seconds)


def half(attack):
    """200 connections that send half of a long line each and wait"""
    daemon = attack.daemon("--max-memory", f"{LIMIT_MIB}M")

    def attacker(until):
        opened = connections(daemon, attack.count(200))
        piece = request(1, "memory_capture", text="x" * MIB)[:600_000]

        def send(client):
            try:
                client.send(piece)
            except OSError:
                pass
        threads = [threading.Thread(target=send, args=(client,), daemon=True) for client in opened]
        for thread in threads:
            thread.start()
        hold(opened, until)
    return daemon, beside(daemon, [attacker], attack.seconds)


def many_half(attack):
    """4 000 connections with 63 KB of a line each"""
    daemon = attack.daemon("--max-memory", f"{LIMIT_MIB}M")
    share = attack.count(4000) // 8

    def attacker(until):
        opened = connections(daemon, share)
        piece = request(1, "memory_capture", text="x" * MIB)[:63_000]
        for client in opened:
            client.socket.setblocking(False)
        waiting = [(client, 0) for client in opened]
        while waiting and time.monotonic() < until:
            still = []
            for client, sent in waiting:
                try:
                    sent += client.socket.send(piece[sent:])
                except BlockingIOError:
                    pass
                except OSError:
                    continue
                if sent < len(piece):
                    still.append((client, sent))
            waiting = still
        hold(opened, until)
    return daemon, beside(daemon, [attacker] * 8, attack.seconds)


def unread(method, title, **params):
    """Returns an attack by connections that call a method and never read."""
    def run(attack):
        daemon = attack.daemon("--max-memory", f"{LIMIT_MIB}M")
        fill(daemon, 300, 1000)
        share = attack.count(1500) // 6

        def attacker(until):
            opened = connections(daemon, share)
            line = request(1, method, **params)
            for client in opened:
                try:
                    client.send(line * 4)
                except OSError:
                    pass
            hold(opened, until)
        return daemon, beside(daemon, [attacker] * 6, attack.seconds)
    run.__doc__ = title
    return run


never_read = unread("memory_recall", "1 500 connections that ask for long replies and never read", cue="harbour tide",
                    limit=100, budget_tokens=100_000)
never_read_discover = unread("rpc.discover", "1 500 connections that ask for rpc.discover and never read")
never_read_structural = unread("memory_recall_structural", "1 500 connections with structural recalls that never read",
                               structure_query={"session": "fill"}, budget_tokens=100_000)
never_read_export = unread("store_export", "1 500 connections that export and never read", cursor=None)


def storm(attack):
    """Connects, sends a part of a line and disconnects, as fast as 8 processes can"""
    daemon = attack.daemon()

    def attacker(until):
        rng = random.Random(os.getpid())
        line = request(1, "memory_recall", cue="tide")
        while time.monotonic() < until:
            try:
                client = Client(daemon.socket)
                client.send(line[:rng.randrange(len(line) + 1)])
            except OSError:
                continue
            client.close()
    return daemon, beside(daemon, [attacker] * 8, attack.seconds)


def pipeline(attack):
    """Endless pings and recalls without a pause, from 4 clients"""
    daemon = attack.daemon()
    fill(daemon)

    def attacker(until):
        burst = (request(1, "ping") * 20 + request(1, "memory_recall", cue="harbour tide", limit=100)) * 10
        with daemon.client() as client:
            while time.monotonic() < until:
                client.send(burst)
                for _ in range(210):
                    client.line()
    return daemon, beside(daemon, [attacker] * 4, attack.seconds)


def bombs(share):
    """Yields lines whose size is near this share of the limit and whose content is costly."""
    names = [f"n{n:x}" for n in range(int(60_000 * share))]
    params = ",".join(f'"{name}":0' for name in names)
    ids = ",".join(f'"{n:032x}"' for n in range(int(25_000 * share)))
    deep = "[" * 120 + "]" * 120
    call = '{{"jsonrpc":"2.0","id":1,"method":"{}","params":{{{}}}}}'.format
    yield call("memory_recall", f'"cue":"x",{params}')
    yield call("memory_capture", f'"text":"a text with enough letters",{params}')
    yield call("memory_reinforce", f'"ids":[{ids}]')
    yield call("store_import", f'"rows":[{ids}]')
    yield call("memory_recall", '"cue":"' + " ".join(names * 2) + '"')
    yield call("memory_recall", '"cue":"' + "\\u00e9" * int(150_000 * share) + '"')
    yield call("memory_recall_structural", f'"structure_query":{{{params}}}')
    yield call("memory_capture", f'"text":{deep * int(4000 * share)}')
    yield call("profile_set", '"knob":"wake_depth","value":[' + "[]," * int(300_000 * share) + "0]")
    yield f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{}},{params}}}'
    yield f'{{"type":"session_open","session_id":"s",{params}}}'
    yield f'{{"type":"status",{params}}}'
    yield '{"type":"session_open","session_id":"' + "s" * int(1_000_000 * share) + '"}'
    yield "[" * int(1_000_000 * share)
    yield "9" * int(1_000_000 * share)


def bomb(attack):
    """Lines of 1 MiB with the costliest content of each method, from 2 clients"""
    daemon = attack.daemon()
    fill(daemon)
    # A program without optimization takes seconds for some of the whole ones.
    lines = [line[:MIB].encode() + b"\n" for line in bombs(0.25 if attack.is_short else 1)]

    def attacker(until):
        with daemon.client() as client:
            for line in lines * (1 if attack.is_short else 2):
                client.send(line)
                client.line()
    return daemon, beside(daemon, [attacker] * 2, attack.seconds)


def garbage(attack):
    """Random bytes, broken UTF-8 and lines over the limit, from 4 clients"""
    daemon = attack.daemon()

    def attacker(until):
        rng = random.Random(os.getpid())
        with daemon.client() as client:
            while time.monotonic() < until:
                line = rng.choice((b"x" + rng.randbytes(300).replace(b"\n", b"?"), b"{" * rng.randrange(1, 500),
                                   b'{"jsonrpc":"2.0","id":' + rng.randbytes(9).replace(b"\n", b"?") + b"}", b"x" * (MIB + 9)))
                client.send(line + b"\n")
                reply = json.loads(client.line())
                if "error" not in reply and reply.get("ok") is not False:
                    raise Failed(f"garbage was answered {reply}")
    return daemon, beside(daemon, [attacker] * 4, attack.seconds)


def descriptors(attack):
    """More connections than there are descriptors"""
    daemon = attack.daemon(prefix=("prlimit", "--nofile=64:64"))
    fill(daemon, 5)

    def attacker(until):
        opened = []
        while time.monotonic() < until:
            opened += connections(daemon, 20)
            time.sleep(0.05)
            for client in opened[:5]:
                client.close()
            del opened[:5]
    innocent = Innocent(daemon)
    innocent.step()
    innocent.seconds += beside_refusing(daemon, attacker, attack.seconds)
    return daemon, innocent


def beside_refusing(daemon, attacker, seconds):
    """Attacks a daemon that may refuse connections meanwhile. Returns the times in which it answered or refused."""
    times = []
    thread = threading.Thread(target=attacker, args=(time.monotonic() + seconds,), daemon=True)
    thread.start()
    while thread.is_alive():
        began = time.monotonic()
        try:
            with daemon.client() as client:
                client.send(request(1, "ping"))
                client.line()
        except OSError:
            pass
        times.append(time.monotonic() - began)
        time.sleep(0.005)
    for _ in range(200):
        try:
            with daemon.client() as client:
                client.call("ping")
                return times
        except (OSError, Refused):
            time.sleep(0.05)
    raise Failed("the daemon refuses connections after the attack")


def other_users(attack):
    """Connections of another user, as fast as one process can; its log stays short"""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        raise Skipped("only root can connect as another user")
    daemon = attack.daemon()
    os.chmod(daemon.home, 0o755)
    os.chmod(daemon.socket, 0o666)

    def attacker(until):
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        while time.monotonic() < until:
            try:
                Client(daemon.socket).close()
            except OSError:
                pass
    innocent = beside(daemon, [attacker], attack.seconds)
    refused = daemon.status()["refused_peers"]
    lines = open(daemon.log).read().count("closed a connection of uid")
    if refused < 50 or lines > 40:
        raise Failed(f"{refused} refused connections left {lines} lines in the log")
    return daemon, innocent


def address_space(attack):
    """Large captures, recalls, exports and sleeps by 8 clients within 64 MiB of address space"""
    seconds = float(os.environ.get("ADDRESS_SPACE_SECONDS", attack.seconds))
    daemon = attack.daemon("--max-memory", "4M", "--max-line", "256K")
    # A program with debug information is larger than an installed one, which has at most 6 MiB.
    limit = (64 << 20) + max(0, mapped_bytes(daemon) - (6 << 20))
    resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (limit, limit))

    def attacker(until):
        rng, n = random.Random(os.getpid()), 0
        with daemon.client() as client:
            while time.monotonic() < until:
                n += 1
                text = f"{os.getpid()} {n} " + " ".join(rng.choice(WORDS) for _ in range(8000))
                calls = (("memory_capture", {"text": text[:65000], "session_id": f"s{n % 50}"}),
                         ("memory_recall", {"cue": "harbour tide window", "limit": 100, "budget_tokens": 100_000}),
                         ("memory_recall", {"cue": text[:60000]}),
                         ("memory_recall_structural", {"structure_query": {}, "budget_tokens": 100_000}),
                         ("store_export", {"cursor": None}),
                         ("memory_capture", {"text": text[:40000], "cue": text[-20000:], "session_id": "cues"}))
                method, params = calls[n % len(calls)]
                try:
                    client.call(method, **params)
                except Refused as error:
                    if error.code != -32001 or "memory" not in error.message:
                        raise Failed(f"{method}: {error.message}") from error
                if n % 40 == 20:
                    client.send(b'{"type":"user_initiated_sleep","reason":"attack","ts":"x"}\n')
                    client.line()
    return daemon, beside(daemon, [attacker] * 8, seconds)


def mapped_bytes(daemon):
    """Returns how many bytes of the address space map the program's file."""
    total, program = 0, os.path.realpath(daemon.program)
    with open(f"/proc/{daemon.process.pid}/maps") as maps:
        for line in maps:
            if line.rstrip().endswith(program):
                start, end = line.split(" ", 1)[0].split("-")
                total += int(end, 16) - int(start, 16)
    return total


WORDS = [a + b for a in ("harbour", "tide", "window", "garden", "pilot", "stair", "folder", "boat", "letter", "night")
         for b in ("", "s", "er", "ing", "ed", "less", "ful", "ly", "ness", "ward", "x", "y", "z", "o", "a")]


def kill(attack):
    """kill -9 while clients capture: every acknowledged record is there afterwards"""
    daemon = attack.daemon()
    innocent = Innocent(daemon)
    for _ in range(attack.count(40)):
        rounds_of_captures(daemon, innocent)
        daemon.start()
    return daemon, innocent


def rounds_of_captures(daemon, innocent):
    """Captures from 3 threads until the daemon is killed at a random moment."""
    def capture():
        try:
            while True:
                innocent_step(daemon, innocent)
        except (OSError, ConnectionError):
            pass
    threads = [threading.Thread(target=capture, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(random.uniform(0.02, 0.2))
    daemon.kill()
    for thread in threads:
        thread.join()


def innocent_step(daemon, innocent):
    text = f"Captured by {threading.get_ident()} at {time.monotonic_ns()}, then the power went: " + "word " * random.randrange(900)
    with daemon.client() as client:
        began = time.monotonic()
        client.call("memory_capture", text=text, session_id="innocent")
        innocent.texts.append(text)
        innocent.seconds.append(time.monotonic() - began)


def check_stored(daemon, innocent):
    lost = set(innocent.texts) - stored(daemon)
    if lost:
        raise Failed(f"{len(lost)} of {len(innocent.texts)} acknowledged records are lost")
    with Client(daemon.socket, CHECK_SECONDS) as client:
        if client.call("store_check")["ok"] is not True:
            raise Failed("the store is damaged")


def power_cut(attack):
    """Power cuts that drop writes since the last sync, in any combination: every acknowledged record is there"""
    library = build("powercut.c")
    log = os.path.join(os.path.dirname(library), f"changes-{os.getpid()}")
    daemon = attack.daemon(env={"LD_PRELOAD": library, "POWERCUT_LOG": log, "POWERCUT_UNDER": "/store/"})
    innocent, rng, dropped = Innocent(daemon), random.Random(1), 0
    try:
        for _ in range(attack.count(60)):
            rounds_of_captures(daemon, innocent)
            dropped += drop_unsynced(log, daemon.store, rng)
            daemon.start()
    finally:
        os.remove(log)
    if not dropped:
        raise Failed("no write was dropped: the library does not see the writes")
    return daemon, innocent


def build(source):
    """Compiles a library that is loaded before the C library, and returns its path."""
    if not shutil.which("cc"):
        raise Skipped("no C compiler")
    folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"iaid-attack-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    library = os.path.join(folder, source.replace(".c", ".so"))
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), source)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, here], check=True)
    return library


def drop_unsynced(log, store, rng):
    """Undoes some of the writes that were not synced, as a power cut may: each with a chance of one half, the last first.
    Returns their number.

    Lines of the log: `w PATH OFFSET SIZE OLD` before a write (SIZE of the file and the OLD bytes in hex), `t PATH SIZE OLD`
    before a truncation, whose bytes are those that it takes away, `s PATH` after a sync."""
    pending, dropped = {}, 0
    with open(log) as lines:
        for line in lines:
            # The last line may be cut off by the kill: its write has not been made.
            if not line.endswith("\n"):
                break
            kind, path, *rest = line[:-1].split("\t")
            if kind == "s":
                pending.pop(path, None)
            else:
                pending.setdefault(path, []).append((kind, rest))
    for path, changes in pending.items():
        if not os.path.exists(path):
            continue
        # A write after a dropped one may have reached the disk, so each is decided by itself.
        with open(path, "r+b") as file:
            for kind, rest in reversed(changes):
                if rng.random() < 0.5:
                    continue
                dropped += 1
                if kind == "w":
                    offset, size, old = int(rest[0]), int(rest[1]), bytes.fromhex(rest[2])
                    now = os.fstat(file.fileno()).st_size
                    os.pwrite(file.fileno(), old, offset)
                    if size < now and offset + len(old) >= size:
                        os.ftruncate(file.fileno(), max(size, offset + len(old)))
                else:
                    size, old = int(rest[0]), bytes.fromhex(rest[1])
                    os.pwrite(file.fileno(), old, size - len(old))
    # The wal-index is memory of the processes that are gone.
    wal_index = os.path.join(store, "memory.db-shm")
    if os.path.exists(wal_index):
        os.remove(wal_index)
    os.truncate(log, 0)
    return dropped


def disk_full(attack):
    """A disk of 4 MiB that fills up: captures are refused with a reason, recalls are answered, nothing is lost"""
    own = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mount = 'mkdir -p "$STORE" && mount -t tmpfs -o size=4m tmpfs "$STORE" && exec "$@"'
    if not shutil.which("unshare") or subprocess.run([*own, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode:
        raise Skipped("this user may not make a mount namespace")
    daemon = attack.adopt(DiskFull(attack.program, own, mount))
    innocent = Innocent(daemon)
    with daemon.client() as client:
        refused = None
        for n in range(3000):
            text = f"Thought {n} needs room: " + "words that need space " * 100
            began = time.monotonic()
            try:
                client.call("memory_capture", text=text)
                innocent.texts.append(text)
            except Refused as error:
                refused = error.message
            innocent.seconds.append(time.monotonic() - began)
            if refused and n > 1500:
                break
        if not refused or "disk is full" not in refused:
            raise Failed(f"a full disk is not said: {refused}")
        if not client.call("memory_recall", cue="words room")["hits"]:
            raise Failed("a full disk keeps recalls from being answered")
        try:
            client.call("store_probe")
            raise Failed("store_probe does not notice a full disk")
        except Refused as error:
            if "disk is full" not in error.message:
                raise Failed(f"store_probe says: {error.message}") from error
    return daemon, innocent


class DiskFull(Daemon):
    """A daemon whose store is a small disk in a mount namespace of its own."""

    def __init__(self, program, own, mount):
        super().__init__(program, prefix=(*own, "sh", "-c", mount, "sh"))


def stop_and_continue(attack):
    """SIGSTOP and SIGCONT at random moments while 4 clients capture"""
    daemon = attack.daemon()

    def attacker(until):
        rng = random.Random(os.getpid())
        while time.monotonic() < until:
            daemon.signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.01, 0.1))
            daemon.signal(signal.SIGCONT)
            time.sleep(rng.uniform(0.01, 0.1))

    def client(until):
        n = 0
        with daemon.client() as client:
            while time.monotonic() < until:
                n += 1
                client.call("memory_capture", text=f"Captured by {os.getpid()}, number {n}, between two stops.")
    try:
        innocent = beside(daemon, [attacker] + [client] * 4, attack.seconds)
    finally:
        if daemon.process.poll() is None:
            daemon.signal(signal.SIGCONT)
    return daemon, innocent


def pipes(attack):
    """FIFOs in place of the files that the daemon and its hooks read"""
    daemon = attack.daemon()
    transcript = os.path.join(daemon.home, "transcript.jsonl")
    os.mkfifo(transcript)
    innocent = Innocent(daemon)
    innocent.step()
    prompt = "A prompt whose transcript is a pipe without a writer."
    hook = {"session_id": "p", "transcript_path": transcript, "cwd": daemon.home, "prompt": prompt}
    command = [attack.program, "--socket", daemon.socket, "hook", "user-prompt-submit", "--store", daemon.store]
    subprocess.run(command, input=json.dumps(hook).encode(), env=daemon.env, check=True, timeout=60)
    if prompt not in stored(daemon):
        raise Failed("the prompt is lost")
    daemon.kill()
    for name in ("memory.db", "memory.db-wal", "memory.db-shm", ".lock"):
        kept = os.path.join(daemon.store, name)
        if os.path.exists(kept):
            os.rename(kept, kept + ".kept")
        os.mkfifo(kept)
        command = [attack.program, "serve", "--socket", daemon.socket, "--store", daemon.store]
        refused = subprocess.run(command, env=daemon.env, capture_output=True, timeout=60)
        if refused.returncode != 1 or name.encode() not in refused.stderr:
            raise Failed(f"a pipe as {name}: status {refused.returncode}, {refused.stderr[-300:]}")
        os.remove(kept)
        if os.path.exists(kept + ".kept"):
            os.rename(kept + ".kept", kept)
    daemon.start()
    return daemon, innocent


# The attacks on memory, after which the peak is compared with the limit.
ON_MEMORY = (half, many_half, never_read, never_read_discover, never_read_structural, never_read_export)

ALL = (slow, *ON_MEMORY, storm, pipeline, bomb, garbage, descriptors, other_users, address_space, kill, power_cut, disk_full,
       stop_and_continue, pipes)
