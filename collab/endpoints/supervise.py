"""Run a server for as long as its owner lives.

It is run as `python supervise.py OWNER RUN COMMAND ...`.

OWNER is a file that the owner keeps locked. RUN is a file that is locked while the command runs,
and then holds its exit status. The starting process holds the other end of stdin and writes a byte
when the server is ready; if stdin ends before that, the server is stopped. When the owner's lock is
free, the server's process group is asked to stop, and soon killed. No process is addressed by a
stored number. The script is run by its path, which is fast; it imports nothing of collab.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

GRACE = 10.0
"""How long the command may take to stop (seconds)."""


def main(owner: str, run: str, command: Sequence[str]) -> int:
    """Start a process that outlives this one and runs the command; return 127 on failure."""
    held = os.open(run, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    if os.fork():
        return 0
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: None)  # the command hears it too; it decides
    threading.Thread(target=_stop_with, args=(owner,), daemon=True).start()
    os.write(held, str(_run(command)).encode())
    _end_group(signal.SIGKILL)  # all that the command started, and this process
    return 0


def _run(command: Sequence[str]) -> int:
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL).wait()
    except OSError as error:
        print(f"cannot run {command[0]!r}: {error.strerror}", file=sys.stderr)
        return 127


def _stop_with(owner: str) -> None:
    """Stop once the starter gave up, or the owner let go of its lock."""
    if os.read(0, 1):
        fcntl.flock(os.open(owner, os.O_RDONLY), fcntl.LOCK_SH)
    _end_group(signal.SIGTERM)
    time.sleep(GRACE)
    _end_group(signal.SIGKILL)


def _end_group(how: signal.Signals) -> None:
    os.killpg(0, how)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
