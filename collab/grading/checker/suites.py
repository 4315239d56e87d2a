"""Judging a program: it is run, and then each suite of its tests."""

from __future__ import annotations

import builtins
import sys
from contextlib import suppress

from collab.grading.checker import inside, numbers
from collab.grading.checker.blame import ERROR, EXCUSE, Suite
from collab.grading.checker.handle import is_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType
    from typing import Any

    from collab.grading.checker.peer import Peer

SHORT = 10_000
"""The length of tests (characters) that are run twice if need be."""
IN_PLACE = "the program changed an argument in place, and gave a result besides"


def judge(peer: Peer, job: Any) -> Any:  # any: JSON
    """Run the program, then each suite of tests; return the faults."""
    module = type(sys)("tests")  # dataclasses look for it
    space = vars(module)
    space["__builtins__"] = builtins
    before, sys.modules["tests"] = sys.modules.get("tests"), module
    try:
        return _judge(peer, job, space)
    finally:
        if before is not None:
            sys.modules["tests"] = before


def _judge(peer: Peer, job: Any, space: dict[str, Any]) -> Any:  # any: JSON, and what is defined
    text = "\n".join((job["before"], *job["suites"].values()))
    try:
        numbers.guard(text)
        inside.guard(text)
        exec(compile(job["before"], "before", "exec"), space)
        suites = {name: Suite(name, text) for name, text in job["suites"].items()}
    except Exception as error:
        return {"broken": shown(error)}
    try:
        needed = _load(peer, job, space, suites)
    except Exception as error:
        return {"suites": dict.fromkeys(suites, f"the program fails: {shown(error)}")}
    for name in (needed - space.keys()) & sys.stdlib_module_names:
        with suppress(ImportError):  # not on this system
            space[name] = __import__(name)
    short = sum(map(len, job["suites"].values())) < SHORT
    result: dict[str, Any] = {"suites": {}}  # any: JSON
    for name, suite in suites.items():
        fault, reason = _Run(peer, suite, space).verdict(watched=short)
        result["suites"][name] = fault
        if reason is not None:
            result.setdefault("unjudged", {})[name] = reason
    return result


def _load(peer: Peer, job: Any, space: dict[str, Any], suites: dict[str, Suite]) -> set[str]:
    """Run the program, and show tests what they may take from it; return the names they use."""
    shared = [] if job.get("values") else _classes(space, job)
    peer.objects.classes = {name: space[name] for name in shared}
    program = peer.ask("run", job["program"], shared)
    needed = {name for suite in suites.values() for name in _names(suite.code)}
    needed -= space.keys() | vars(builtins).keys()
    for name in sorted(needed & set(job.get("lends", ())) | ({job["entry"]} - {None})):
        _lend(program, name, space)
        if is_handle(one := space.get(name)):
            level = 2 if name in job.get("classes", ()) else int(name.lstrip("_")[:1].isupper())
            peer.asked[object.__getattribute__(one, "_number")] = level
    peer.values = job.get("values", False)
    return needed


class _Run:
    """One suite that is run."""

    def __init__(self, peer: Peer, suite: Suite, space: dict[str, Any]) -> None:
        self._peer, self._suite = peer, suite
        self._space = space | inside.functions() | {EXCUSE: self._excuse, ERROR: AssertionError}
        self._taken = {name for name, it in space.items() if is_handle(it)}
        self._fault: str | None = None
        self._said = 0

    def verdict(self, *, watched: bool) -> tuple[str | None, str | None]:
        """Return the fault, and why the program may be right after all.

        If tests fail, they are run again with what became of their arguments. A program that then
        passes is right if its tests compare with what is written there; or else it is not judged,
        since it could have changed what it is compared with. It has to repeat all that it said.
        """
        peer = self._peer
        peer.is_on_purpose = self._is_on_purpose
        with suppress(EOFError, BrokenPipeError):
            peer.begin(self._suite.file, watched=watched)
        reason = self._run()
        if self._fault is None:
            return None, None
        if peer.gave and peer.log:
            fault, said = self._fault, peer.log[: self._said]
            with suppress(EOFError, BrokenPipeError):
                peer.again()
                peer.in_place = True
                changed = self._run()
                peer.in_place = False
                if self._fault is None and (peer.log or [])[: len(said)] == said:
                    literal = changed is None and self._suite.is_literal(self._taken)
                    return (None, None) if literal else (fault, IN_PLACE)
            self._fault = fault
        return self._fault, reason

    def _run(self) -> str | None:
        """Run it, and note the first fault; return why it may not be one."""
        self._fault, self._said = None, 0
        try:
            exec(self._suite.code, dict(self._space))
        except BaseException as error:  # whatever it is, the tests did not come to their end
            line = self._line(error)
            reason = self._reason(line, shown(error))
            if reason is None or self._fault is None:
                self._fault = None
                self._fail(line, shown(error))
            return reason
        return self._peer.reason if self._fault is not None else None

    def _excuse(self, line: int) -> None:
        """Let tests go on after an assertion, unless the program is to blame."""
        if self._reason(line, "AssertionError") is None:
            raise
        self._fail(line, "AssertionError")

    def _fail(self, line: int, why: str) -> None:
        if self._fault is None:
            self._fault = f"{why} at line {line}: {self._suite.line(line)}"
            self._said = len(self._peer.log or ())

    def _is_on_purpose(self, error: BaseException) -> bool:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is None or trace.tb_frame.f_code.co_filename != self._suite.file:
            return False
        return self._suite.raises_on_purpose(trace.tb_lineno)

    def _line(self, error: BaseException) -> int:
        line, trace = 0, error.__traceback__
        while trace is not None:
            inside_it = trace.tb_frame.f_code.co_filename == self._suite.file
            line = trace.tb_lineno if inside_it else line
            trace = trace.tb_next
        return line

    def _reason(self, line: int, why: str) -> str | None:
        """Return why the failure of a line may be no fault of the program's."""
        peer, suite = self._peer, self._suite
        if peer.reason is not None and suite.is_excused(line, peer.noted):
            return peer.reason
        if peer.has_objects() and ("'Remote'" in why or suite.looks_inside(line)):
            peer.note("the tests look into an object of the program's own")
        elif suite.patches():
            peer.note("the tests patch what the program does not see")
        else:
            return None
        return peer.reason


def _classes(space: dict[str, object], job: Any) -> list[str]:  # any: JSON
    """Return the classes of the question that its answer does not have to define."""
    return [
        name
        for name, it in space.items()
        if isinstance(it, type)
        and it.__module__ == "tests"
        and not issubclass(it, BaseException)
        and name not in {job["entry"], *job.get("lends", ())}
    ]


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that code, or a function in it, may take for a global one."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, type(code)):
            yield from _names(const)


def _lend(program: Any, name: str, space: dict[str, object]) -> None:  # any: a handle
    """Show the tests something that the program defines."""
    try:
        space[name] = getattr(program, name)
    except AttributeError:  # the tests that need it will say so
        space.pop(name, None)


def shown(error: BaseException) -> str:
    """Return an exception's class and text."""
    try:
        return ": ".join(filter(None, (type(error).__name__, str(error)[:1000])))
    except Exception:  # it shows something of the program's
        return type(error).__name__
