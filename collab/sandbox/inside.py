"""What runs first in a sandbox: it gives up its rights, takes on the limits, starts the program.

`collab.sandbox` hands this file to an interpreter as text. stdin begins with the program; what
follows is the program's own stdin. The first byte on stdout says that the program is about to
start: where it is missing, what failed is the sandbox.
"""

import os
import resource
import sys

READY = b"\x06"


def main(
    uid: int, seconds: int, memory: int, processes: int, disk: int, size: int, *paths: str
) -> None:
    """Become the program.

    Args:
        uid: Whom to become; 0 to stay.
        seconds: CPU time of each process.
        memory: Address space of each process (bytes).
        processes: How many there may be, threads counted; 0 for any number.
        disk: The longest file (bytes).
        size: Length of the program (bytes).
        paths: Where packages are.
    """
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    caps = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),  # asked to end, then ended
        resource.RLIMIT_AS: (memory, memory),
        resource.RLIMIT_FSIZE: (disk, disk),
        resource.RLIMIT_NOFILE: (64, 64),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_CORE: (0, 0),
    }
    if processes:
        caps[resource.RLIMIT_NPROC] = (processes, processes)
    for limit, cap in caps.items():
        resource.setrlimit(limit, cap)
    source = b""
    while len(source) < size:
        source += os.read(0, size - len(source)) or sys.exit("the program ends early")
    with open("program.py", "wb") as file:
        file.write(source)
    sys.path += paths
    sys.argv = ["program.py"]
    sys.excepthook = _without_us
    module = type(sys)("__main__")
    module.__file__ = "program.py"
    vars(module).update(exit=sys.exit, quit=sys.exit)
    sys.modules["__main__"] = module
    os.write(1, READY)
    exec(compile(source, "program.py", "exec"), vars(module))


def _without_us(kind, error, trace):  # type: ignore[no-untyped-def]  # `types` would take its time
    """Print an error as if the program had been started directly, without the two frames here."""
    sys.__excepthook__(kind, error.with_traceback(trace.tb_next.tb_next), None)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:7]), *sys.argv[7:])  # type: ignore[arg-type]  # numbers, then names
