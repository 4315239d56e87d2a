"""Code that keeps the event loop to itself is ended, and nothing of that is left behind."""

import subprocess
import sys

STOPPED = """
import asyncio, sys
from collab.episode.watchdog import Stuck, Watched

async def turn():
    while True:
        pass

async def main():
    sys.settrace(lambda frame, event, argument: None)
    for _ in range(3):
        try:
            await Watched(turn(), 0.01)
        except Stuck:
            print("stopped")
    print("goes on", sum(range(1000)))

asyncio.run(main())
"""


def test_what_was_stopped_under_a_tracer_goes_on() -> None:
    ran = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, timeout=60)
    assert ran.stdout.decode().split("\n")[:-1] == ["stopped"] * 3 + ["goes on 499500"]
