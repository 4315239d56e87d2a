"""A seccomp filter for bubblewrap, which refuses system calls that no sandboxed program needs.

The refused calls either evade the limits (memory outside any address space, new file systems) or
reach other processes. All other calls are allowed: the sandbox does not depend on this filter. The
numbers are from Linux's system call tables, and the encoding is that of `linux/filter.h`.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterator

from collab.errors import SandboxError

COMMON = {
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "memfd_secret": 447,
}
REFUSED = {
    "x86_64": COMMON
    | {
        "shmget": 29,
        "shmat": 30,
        "msgget": 68,
        "ptrace": 101,
        "pivot_root": 155,
        "mount": 165,
        "mq_open": 240,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "unshare": 272,
        "perf_event_open": 298,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "memfd_create": 319,
        "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": COMMON
    | {
        "mount": 40,
        "pivot_root": 41,
        "unshare": 97,
        "ptrace": 117,
        "mq_open": 180,
        "msgget": 186,
        "shmget": 194,
        "shmat": 196,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "perf_event_open": 241,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "memfd_create": 279,
        "bpf": 280,
        "userfaultfd": 282,
    },
}
"""The numbers of the refused system calls by name, for each known machine."""
MACHINE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
"""A filter cannot read its flags, so it is reported as missing; the C library then uses `clone`."""
CLONE_NEWUSER = 0x10000000
FOREIGN = 0x40000000
"""Numbers from here on belong to x86's other calling convention (x32)."""

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
KILL, ALLOW = 0x80000000, 0x7FFF0000
NO_PERMISSION, NO_SUCH_CALL = 0x00050000 | 1, 0x00050000 | 38
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Their offsets in `seccomp_data`, the input of a filter (bytes)."""


def program(machine: str = "") -> bytes:
    """Return the filter in the kernel's format.

    Args:
        machine: The machine's name as printed by `uname -m`; by default this machine.

    Raises:
        SandboxError: The system call numbers of the machine are not known.
    """
    machine = machine or platform.machine()
    if machine not in REFUSED:
        known = ", ".join(sorted(REFUSED))
        raise SandboxError(f"no sandbox on a {machine!r} machine (known: {known})")
    return b"".join(struct.pack("=HBBI", *step) for step in _steps(machine))


def _steps(machine: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield the instructions: operation, steps to skip if true, steps to skip if false, operand."""
    yield LOAD, 0, 0, ARCHITECTURE
    yield EQUAL, 1, 0, MACHINE[machine]
    yield RETURN, 0, 0, KILL
    yield LOAD, 0, 0, NUMBER
    yield AT_LEAST, 0, 1, FOREIGN
    yield RETURN, 0, 0, KILL
    for number in sorted(REFUSED[machine].values()):
        yield EQUAL, 0, 1, number
        yield RETURN, 0, 0, NO_PERMISSION
    yield EQUAL, 0, 1, CLONE3
    yield RETURN, 0, 0, NO_SUCH_CALL
    yield EQUAL, 0, 3, CLONE[machine]
    yield LOAD, 0, 0, FIRST_ARGUMENT
    yield ANY_BIT, 0, 1, CLONE_NEWUSER
    yield RETURN, 0, 0, NO_PERMISSION
    yield RETURN, 0, 0, ALLOW
