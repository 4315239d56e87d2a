"""The first code in a sandbox: it gives up its rights, sets the limits and starts the program.

`collab.sandbox` passes this file to an interpreter as text. stdin starts with the program, followed
by the program's own stdin. The first byte on stdout signals that the program is about to start. If
it is missing, the sandbox has failed, not the program.
"""

import os
import resource
import sys

READY = b"\x06"


def main(
    uid: int, seconds: int, memory: int, processes: int, disk: int, size: int, *paths: str
) -> None:
    """Set the limits, and run the program in this process.

    Args:
        uid: The user id to change to; 0 for no change.
        seconds: CPU time of each process.
        memory: Address space of each process (bytes).
        processes: The largest number of processes and threads; 0 for no limit.
        disk: The largest file (bytes).
        size: Length of the program (bytes).
        paths: Folders to import packages from.
    """
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    caps = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),  # SIGXCPU, then SIGKILL
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


def _without_us(kind, error, trace):  # type: ignore[no-untyped-def]  # importing `types` takes time
    """Print an error without the two frames of this file, as if the program ran directly."""
    sys.__excepthook__(kind, error.with_traceback(trace.tb_next.tb_next), None)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:7]), *sys.argv[7:])  # type: ignore[arg-type]  # numbers, then names
