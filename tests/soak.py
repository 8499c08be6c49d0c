#!/usr/bin/env python3
"""Two hundred clients for a while: mixed calls, slow readers, garbage and reconnects.

    tests/soak.py PROGRAM SECONDS

Every line has to get its reply, in order; at the end memory and descriptors have to be what they were
when all was warm. Exits with 1 and a sentence for each thing that is not so.
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

STEADY, SLOW, GARBAGE, COMING = 110, 30, 30, 30

# Texts that are captured again and again: the store stops growing, so that memory can be compared.
TEXTS = [f"Thought {n}: the {a} keeps the {b} near the {c}." for n, (a, b, c) in enumerate(
    (a, b, c) for a in ("harbour master", "gardener", "librarian", "pilot") for b in ("tide tables", "blue folder", "keys")
    for c in ("window", "old gate", "stairs", "boat house"))]

# Growth that is still flat: pages that the allocator keeps for the busiest moment.
SLACK_KIB = 1024
SLACK_SHARE = 0.10


class Tally:
    replies = 0
    connections = 0
    faults = []

    def fault(self, text):
        if len(self.faults) < 20:
            self.faults.append(text)


def call(ident, rng):
    """A call, and whether it is answered with a result."""
    kind = rng.randrange(10)
    if kind < 4:
        method, params = "ping", {}
    elif kind < 6:
        method, params = "memory_recall", {"cue": rng.choice(TEXTS), "limit": rng.randrange(1, 20)}
    elif kind < 7:
        # The same text of another session would be another record.
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
    """Reads the replies that are owed: ids with whether each is a result."""
    for ident, is_result in owed:
        line = await asyncio.wait_for(reader.readline(), 60)
        if not line.endswith(b"\n"):
            return tally.fault(f"{who}: the reply to {ident} was lost")
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
    """Asks for much and takes it in small bites."""
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


def rubbish(rng):
    """A line that is no request: never blank, since a blank one has no reply."""
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
    while time.monotonic() < until:
        reader, writer = await connect(path, tally)
        for _ in range(rng.randrange(1, 6)):
            writer.write(rubbish(rng))
            await writer.drain()
            line = await asyncio.wait_for(reader.readline(), 60)
            reply = json.loads(line) if line.endswith(b"\n") else {}
            if "error" not in reply and reply.get("ok") is not False:
                tally.fault(f"garbage was answered {line[:200]!r}")
            tally.replies += 1
        # And goes in the middle of a line.
        writer.write(b'{"jsonrpc":"2.0","id":1,"meth')
        await leave(writer)
        await asyncio.sleep(rng.random() * 0.5)


async def coming(path, tally, until, rng):
    """Comes, says what it has to, ends its side, and hears all of it."""
    while time.monotonic() < until:
        reader, writer = await connect(path, tally)
        owed = []
        for ident in range(rng.randrange(1, 30)):
            line, is_result = call(ident, rng)
            owed.append((ident, is_result))
            writer.write(line)
        writer.write_eof()
        await expect(reader, owed, tally, "coming")
        if await reader.read() != b"":
            tally.fault("coming: more came than was asked for")
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
    reply = json.loads(await reader.readline())
    await leave(writer)
    return reply


async def settled(path, pid, wanted):
    """The status and the descriptors once all have left."""
    for _ in range(100):
        status = await ask_status(path)
        if status["connections"] == 1 and descriptors(pid) <= wanted:
            break
        await asyncio.sleep(0.1)
    return status, descriptors(pid)


async def soak(path, pid, seconds, tally):
    # What workers and the writer open, they have open now.
    warm = time.monotonic() + 2
    await asyncio.gather(*(steady(path, tally, warm, random.Random(n)) for n in range(20)))
    before = descriptors(pid)
    until = time.monotonic() + seconds
    samples = []
    clients = [kind(path, tally, until, random.Random(f"{kind.__name__}{n}"))
               for kind, count in ((steady, STEADY), (slow, SLOW), (garbage, GARBAGE), (coming, COMING))
               for n in range(count)]
    for outcome in await asyncio.gather(watch(pid, until, samples), *clients, return_exceptions=True):
        if isinstance(outcome, BaseException):
            tally.fault(f"a client ended with {outcome!r}")
    status, after = await settled(path, pid, before + 1)
    # The first third is for warming up.
    third = len(samples) // 3
    # The least of each: what is lost stays, while how much lines and replies hold at most is chance.
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
            while not os.path.exists(path):
                if daemon.poll() is not None:
                    sys.exit(open(log).read())
                time.sleep(0.01)
            asyncio.run(soak(path, daemon.pid, seconds, tally))
            daemon.send_signal(signal.SIGTERM)
            if daemon.wait(60) != 0:
                tally.fault(f"the daemon ended with {daemon.returncode}")
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
