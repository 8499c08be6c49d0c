#!/usr/bin/env python3
"""Runs 200 clients at once: mixed calls, slow readers, garbage and reconnects.

    tests/soak.py PROGRAM SECONDS

Every line must get its reply, in order. At the end memory and descriptors must be what they were after the warm-up.
Exits with 1 and a sentence for each failure.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

# Clients of each kind.
STEADY, SLOW, GARBAGE, BRIEF = 110, 30, 30, 30

# Texts that are captured repeatedly: the store stops growing, so that memory can be compared.
TEXTS = [f"Thought {n}: the {a} keeps the {b} near the {c}." for n, (a, b, c) in enumerate(
    (a, b, c) for a in ("harbour master", "gardener", "librarian", "pilot") for b in ("tide tables", "blue folder", "keys")
    for c in ("window", "old gate", "stairs", "boat house"))]

# Growth of memory that is accepted: pages that the allocator keeps for the busiest moment, and the page caches of four
# workers' readers, 1 MiB each, which fill when a worker first needs them.
SLACK_KIB = 5 * 1024
SLACK_SHARE = 0.10

# Waited for one reply, and for everything beside the soak itself.
REPLY_SECONDS = 60
REST_SECONDS = 180


class Tally:
    """Counts replies and connections, and keeps the first twenty faults."""

    replies = 0
    connections = 0
    faults = []

    def fault(self, text):
        if len(self.faults) < 20:
            self.faults.append(text)


def call(ident, rng):
    """Returns a call, and whether its reply has a result."""
    kind = rng.randrange(10)
    if kind < 4:
        method, params = "ping", {}
    elif kind < 6:
        method, params = "memory_recall", {"cue": rng.choice(TEXTS), "limit": rng.randrange(1, 20)}
    elif kind < 7:
        # With another session the same text would be another record.
        method, params = "memory_capture", {"text": rng.choice(TEXTS), "session_id": "soak"}
    elif kind < 8:
        method, params = "profile_get", {"knob": "wake_depth"}
    elif kind < 9:
        method, params = "memory_recall", {"cue": 5}
    else:
        method, params = "no_such_method", {}
    line = json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params})
    return line.encode() + b"\n", method != "no_such_method" and params != {"cue": 5}


async def expect(reader, owed, tally, who):
    """Reads the replies that are owed, given as ids with whether each reply has a result."""
    for ident, is_result in owed:
        line = await asyncio.wait_for(reader.readline(), REPLY_SECONDS)
        if not line.endswith(b"\n"):
            return tally.fault(f"{who}: the reply to {ident} is missing")
        reply = json.loads(line)
        if reply.get("id") != ident or ("result" in reply) != is_result:
            return tally.fault(f"{who}: {ident} was answered {line[:200]!r}")
        tally.replies += 1


async def connect(path, tally):
    tally.connections += 1
    return await asyncio.open_unix_connection(path, limit=8 << 20)


async def leave(writer):
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass


async def steady(path, tally, until, rng):
    """Keeps one connection and sends a few calls at a time."""
    reader, writer = await connect(path, tally)
    ident = 0
    while time.monotonic() < until:
        owed = []
        for _ in range(rng.randrange(1, 12)):
            line, is_result = call(ident, rng)
            owed.append((ident, is_result))
            ident += 1
            writer.write(line)
        await writer.drain()
        await expect(reader, owed, tally, "steady")
        await asyncio.sleep(rng.random() * 0.4)
    await leave(writer)


async def slow(path, tally, until, rng):
    """Asks for large replies and reads them slowly."""
    while time.monotonic() < until:
        reader, writer = await connect(path, tally)
        line = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "memory_recall",
                           "params": {"cue": "harbour master gardener pilot", "limit": 100, "budget_tokens": 100000}})
        count = rng.randrange(5, 30)
        writer.write((line + "\n").encode() * count)
        await writer.drain()
        for _ in range(count):
            await expect(reader, [(0, True)], tally, "slow")
            await asyncio.sleep(rng.random() * 0.1)
        await leave(writer)


def garbage_line(rng):
    """Returns a line that is no request. It is never blank, since a blank line has no reply."""
    kind = rng.randrange(5)
    if kind == 0:
        raw = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200)))
        return b"x" + raw.replace(b"\n", b"?") + b"\n"
    if kind == 1:
        return b"[" * rng.randrange(1, 400) + b"\n"
    if kind == 2:
        return b'{"jsonrpc":"2.0","id":{},"method":5}\n'
    if kind == 3:
        return b'{"type":"pause","seconds":"soon"}\n'
    return b"x" * (1 << 20) + b"xx\n"


async def garbage(path, tally, until, rng):
    """Sends garbage and disconnects in the middle of a line."""
    while time.monotonic() < until:
        reader, writer = await connect(path, tally)
        for _ in range(rng.randrange(1, 6)):
            writer.write(garbage_line(rng))
            await writer.drain()
            line = await asyncio.wait_for(reader.readline(), REPLY_SECONDS)
            reply = json.loads(line) if line.endswith(b"\n") else {}
            if "error" not in reply and reply.get("ok") is not False:
                tally.fault(f"garbage was answered {line[:200]!r}")
            tally.replies += 1
        writer.write(b'{"jsonrpc":"2.0","id":1,"meth')
        await leave(writer)
        await asyncio.sleep(rng.random() * 0.5)


async def brief(path, tally, until, rng):
    """Connects, sends calls, closes its sending side and reads all replies."""
    while time.monotonic() < until:
        reader, writer = await connect(path, tally)
        owed = []
        for ident in range(rng.randrange(1, 30)):
            line, is_result = call(ident, rng)
            owed.append((ident, is_result))
            writer.write(line)
        writer.write_eof()
        await expect(reader, owed, tally, "brief")
        if await asyncio.wait_for(reader.read(), REPLY_SECONDS) != b"":
            tally.fault("brief: more replies than calls")
        await leave(writer)
        await asyncio.sleep(rng.random() * 0.2)


def memory_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


async def watch(pid, until, samples):
    while time.monotonic() < until:
        samples.append((memory_kib(pid), descriptors(pid)))
        await asyncio.sleep(0.5)


async def ask_status(path):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"type":"status"}\n')
    reply = json.loads(await asyncio.wait_for(reader.readline(), REPLY_SECONDS))
    await leave(writer)
    return reply


async def settled(path, pid, wanted):
    """Returns the status and the number of descriptors once all clients have disconnected."""
    for _ in range(100):
        status = await ask_status(path)
        if status["connections"] == 1 and descriptors(pid) <= wanted:
            break
        await asyncio.sleep(0.1)
    return status, descriptors(pid)


async def soak(path, pid, seconds, tally):
    # Warm-up: after it the workers and the writer have opened all they need.
    warm = time.monotonic() + 2
    await asyncio.gather(*(steady(path, tally, warm, random.Random(n)) for n in range(20)))
    before = descriptors(pid)
    until = time.monotonic() + seconds
    samples = []
    clients = [kind(path, tally, until, random.Random(f"{kind.__name__}{n}"))
               for kind, count in ((steady, STEADY), (slow, SLOW), (garbage, GARBAGE), (brief, BRIEF))
               for n in range(count)]
    for outcome in await asyncio.gather(watch(pid, until, samples), *clients, return_exceptions=True):
        if isinstance(outcome, BaseException):
            tally.fault(f"a client ended with {outcome!r}")
    status, after = await settled(path, pid, before + 1)
    # The first third belongs to the warm-up.
    third = len(samples) // 3
    # The least of each third: leaked memory stays, while the most depends on chance.
    early = min(memory for memory, _ in samples[third:2 * third])
    late = min(memory for memory, _ in samples[2 * third:])
    print(f"{tally.connections} connections, {tally.replies} replies, {status['records']} records")
    print(f"memory: at least {early} KiB in the middle third, {late} KiB in the last; now {memory_kib(pid)} KiB")
    print(f"descriptors: {before} before, at most {max(fds for _, fds in samples)}, {after} after")
    if late > early * (1 + SLACK_SHARE) + SLACK_KIB:
        tally.fault(f"memory grew from {early} KiB to {late} KiB")
    # The connection that asks for the status may still be there.
    if after > before + 1:
        tally.fault(f"descriptors grew from {before} to {after}")
    for name, wanted in (("in_flight", 0), ("queued", 0), ("cut_readers", 0), ("refused_connections", 0)):
        if status[name] != wanted:
            tally.fault(f"{name} is {status[name]} at the end")
    if status["records"] > len(TEXTS):
        tally.fault(f"{status['records']} records of {len(TEXTS)} texts")


def main():
    program, seconds = sys.argv[1], float(sys.argv[2])
    tally = Tally()
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, "d.sock")
        log = os.path.join(home, "log")
        with open(log, "wb") as errors:
            daemon = subprocess.Popen([program, "serve", "--socket", path, "--store", os.path.join(home, "store")],
                                      stderr=errors, stdin=subprocess.DEVNULL, env={"HOME": home})
        try:
            end = time.monotonic() + REPLY_SECONDS
            while not os.path.exists(path):
                if daemon.poll() is not None or time.monotonic() > end:
                    sys.exit(f"the daemon does not listen: {open(log).read()}")
                time.sleep(0.01)
            asyncio.run(asyncio.wait_for(soak(path, daemon.pid, seconds, tally), seconds + REST_SECONDS))
            daemon.send_signal(signal.SIGTERM)
            if daemon.wait(60) != 0:
                tally.fault(f"the daemon exited with {daemon.returncode}")
        finally:
            daemon.kill()
        said = open(log, errors="replace").read()
        for word in ("panic", "ERROR"):
            if word in said:
                tally.fault(f"the log has {word}: {said[-2000:]}")
    for fault in tally.faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
