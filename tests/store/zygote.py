"""Start `collab` in forks of a process that has imported all of it, so that starts are quick.

It reads one JSON list per line, ["start", WORDS, FOLDER, NAME], ["poll", PID] or ["wait", PID], and
answers each with one line: a pid, or an exit status (null while it runs, and minus the signal that
ended it).
"""

import importlib
import json
import os
import sys

for name in (
    "collab.cli.run",
    "collab.endpoints.client",
    "collab.report.tables",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "openai",
    "collab.policies.distractor",
    "scipy.stats",
):
    importlib.import_module(name)


def start(words: list[str], folder: str, name: str) -> int:
    """Run a command in a folder, with its output in files of this name there."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.chdir(folder)
        for number, suffix in ((0, "in"), (1, "out"), (2, "err")):
            file = os.open(f"{name}.{suffix}", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        from collab.cli import main

        status = main(words)
        sys.stdout.flush()
    finally:
        os._exit(status)


def ended(pid: int, options: int = 0) -> int | None:
    """Return the exit status of a process."""
    found, status = os.waitpid(pid, options)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    for line in sys.stdin:
        match json.loads(line):
            case ["start", words, folder, name]:
                said: int | None = start(words, folder, name)
            case ["poll", pid]:
                said = ended(pid, os.WNOHANG)
            case [_, pid]:
                said = ended(pid)
        print(json.dumps(said), flush=True)
