"""Start the two processes, and say what came of the job."""

from __future__ import annotations

import json
import os
import sys

from collab.grading.checker.peer import Peer
from collab.grading.checker.program import Program
from collab.grading.checker.suites import judge


def start() -> Peer:
    """Fork the process that is to hold the program, and return it."""
    (asked, asks), (told, tells) = os.pipe(), os.pipe()
    if os.fork():
        os.close(asked)
        os.close(tells)
        return Peer(open(told, "rb"), open(asks, "wb"))
    try:
        os.close(asks)
        os.close(told)
        nothing = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        Program(open(asked, "rb"), open(tells, "wb")).serve()  # noqa: SIM115
    finally:
        os._exit(1)


def main() -> None:
    """Judge the job on stdin, and say on stdout what came of it: nothing else is said there."""
    sys.set_int_max_str_digits(0)  # a result may be a long number
    other = start()
    stdout = os.dup(1)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    os.write(stdout, json.dumps(judge(other, json.load(sys.stdin))).encode() + b"\n")
