"""Run a command for as long as whoever holds the other end of stdin lives.

For servers that do not watch their parent themselves: `python supervise.py COMMAND ...`. When stdin
ends, the whole process group is asked to stop, and soon after made to. Run by its path, so that it
starts at once; it imports nothing of collab.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

GRACE = 10.0
"""How long the command may take to stop (seconds)."""


def main(command: Sequence[str]) -> int:
    """Return the command's exit status, or 127 where it cannot be run."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # the command hears it too; it decides
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"cannot run {command[0]!r}: {error.strerror}", file=sys.stderr)
        return 127
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    return process.wait()


def _stop_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
