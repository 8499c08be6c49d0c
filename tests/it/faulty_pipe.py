"""A pipe that delays what it carries, doubles parts of it, and is cut after a number of bytes.

usage: faulty_pipe.py DIRECTION CUT DOUBLE DELAY COMMAND...

Runs COMMAND and carries standard input to it and its standard output back. In DIRECTION (`there` or `back`) the pipe is cut
after CUT bytes (0: never), each DOUBLEth piece is doubled (0: none), and each piece waits for DELAY milliseconds. The other
direction is whole.
"""
import os
import subprocess
import sys
import threading
import time

direction, cut, double, delay = sys.argv[1], *map(int, sys.argv[2:5])
child = subprocess.Popen(sys.argv[5:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def carry(source, target, is_faulty):
    passed = pieces = 0
    while piece := os.read(source, 997):
        pieces += 1
        if is_faulty:
            time.sleep(delay / 1000)
            if double and pieces % double == 0:
                piece += piece
            if cut:
                piece = piece[: cut - passed]
        try:
            while piece:
                count = os.write(target, piece)
                passed += count
                piece = piece[count:]
        except BrokenPipeError:
            break
        if is_faulty and cut and passed >= cut:
            # Both directions: a connection ends as a whole.
            child.kill()
            os._exit(1)
    os.close(target)


there = threading.Thread(target=carry, args=(0, child.stdin.fileno(), direction == "there"), daemon=True)
there.start()
carry(child.stdout.fileno(), 1, direction == "back")
sys.exit(child.wait())
