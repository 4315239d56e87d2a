"""Answers that are code, judged by running them: program and tests in one sandbox, two processes.

See `checker` for what happens in there. A program that takes too much time or memory, ends early
or harms its own process is wrong; where the sandbox itself cannot start, nothing is judged.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from textwrap import indent
from typing import Any, Literal, Self

from pydantic import Field

from collab.core.settings import Settings
from collab.core.trajectory import Checks, Json, Question
from collab.errors import GradingError
from collab.grading import Judgement
from collab.grading.checker.bundle import bundle
from collab.grading.extract import Found, defines, find
from collab.grading.source import dedented, future_first
from collab.sandbox import ProgramLimits, ProgramResult, Sandbox
from collab.sandbox.named import SANDBOXES, SandboxName


@dataclass(frozen=True, slots=True)
class Faults:
    """What came of the suites of tests, by name."""

    suites: Mapping[str, str | None]
    """What was wrong; None where the program passed."""
    unjudged: Mapping[str, str] = field(default_factory=dict)
    """Why a fault may not be the program's: what could not be carried over."""


EXPRESSION = '''
import ast

def answer():
    """Evaluate the side of an assertion that was asked for, or the expression that was given."""
    node = ast.parse(TEXT).body[-1]
    node = node.test if isinstance(node, ast.Assert) else node.value
    sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node]
    chosen = ([side for side in sides if is_call(side) == CALL] or sides)[-1]
    value = eval(compile(ast.Expression(chosen), "answer", "eval"))
    if not CALL or is_call(chosen):
        return value
    return (value if isinstance(value, tuple) else (value,)), {}

def is_call(node):
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) == ENTRY
'''
"""The program that reads an answer which is none: `answer()` is its value, or the arguments of the
call that it gives, as `(positional, named)`."""

DEFINED = re.compile(r"^(?:async +)?(?:def|class) +(\w+)", re.MULTILINE)
"""What code defines at its outermost level."""
CLASS_USE = re.compile(
    r"\bwith +(\w+)\(|\b(\w+)\([^()\n]*\)\.[A-Za-z_]|\bis(?:instance|subclass)\([^\n]*, *(\w+)\)"
)
MADE_BY = re.compile(r"^[ \t]*(\w+) *= *(\w+)\(", re.MULTILINE)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler)
ARGUMENTS = "def {entry}(*positional, **named):\n    return positional, named\n"


class CodeSettings(Settings):
    """How answers that are code are judged."""

    sandbox: SandboxName = "bubblewrap"
    """Where programs run."""
    workers: int = Field(default=4, ge=1)
    """Programs at once."""
    limits: ProgramLimits = ProgramLimits()
    """What a program may use, its tests the same."""


class CodeGrader:
    """Judges programs side by side; use it as an async context manager."""

    def __init__(self, settings: CodeSettings = CodeSettings()) -> None:  # noqa: B008 - frozen
        self._limits = settings.limits
        self._sandbox: Sandbox = SANDBOXES[settings.sandbox](settings.workers)
        self._faults: dict[bytes, asyncio.Task[Faults]] = {}

    async def __aenter__(self) -> Self:
        await self._sandbox.prove()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._faults.values():
            task.cancel()
        await asyncio.gather(*self._faults.values(), return_exceptions=True)

    async def grade(self, question: Question, text: str) -> Judgement:
        """Judge the code in an answer; the same code is judged once for a question.

        Raises:
            GradingError: The question has no tests, or they are broken.
            SandboxError: Programs cannot be run here, or not safely.
        """
        checks = question.checks
        if checks is None or not checks.suites:
            raise GradingError(f"question {question.id!r} has no tests: set questions.checks")
        if not all(text.strip() for text in checks.suites.values()):
            raise GradingError(f"question {question.id!r} has an empty suite of tests")
        checks = replace(checks, entry=entry_of(question, checks))
        found = find(text, checks.reads, checks.entry)
        if found is None:
            return Judgement("no answer", None, False, None)
        faults = await self._judged(_job(question, checks, found.code), checks)
        return _judgement(found, faults)

    async def _judged(self, job: str, checks: Checks) -> Faults:
        key = blake2b(job.encode()).digest()
        task = self._faults.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._faults[key] = asyncio.create_task(self._run(job, checks))
        return await asyncio.shield(task)

    async def _run(self, job: str, checks: Checks) -> Faults:
        limits = _wide_enough(self._limits, checks)
        outcome = await self._sandbox.run(bundle(), job, checks.packages, limits)
        report = _report_of(outcome)
        if "broken" in report:
            raise GradingError(f"the tests are broken: {report['broken']}")
        faults = report.get("suites", {})
        missing = f"the program ended its tests: {_end(outcome)}"
        suites = {name: faults.get(name, missing) for name in json.loads(job)["suites"]}
        return Faults(suites, report.get("unjudged", {}))


def _judgement(found: Found, faults: Faults) -> Judgement:
    """Return the verdict: a fault counts unless something could not be carried over."""
    failed = {name for name, fault in faults.suites.items() if fault}
    details: dict[str, Json] = {
        "suites": {name: fault or "passed" for name, fault in faults.suites.items()}
    }
    if failed and failed <= faults.unjudged.keys():
        details["not judged"] = dict(faults.unjudged)
        return Judgement("not judged", None, False, found.code, "tests", details)
    right = not failed
    verdict: Literal["correct", "wrong"] = "correct" if right else "wrong"
    return Judgement(verdict, right, right and found.asked, found.code, "tests", details)


def _wide_enough(limits: ProgramLimits, checks: Checks) -> ProgramLimits:
    """Return limits within which a right program comes to its end."""
    seconds = max(limits.seconds, checks.seconds)
    wider = {
        "seconds": seconds,
        "wall": limits.wall * seconds / limits.seconds,
        "memory": max(limits.memory, checks.memory),
    }
    return limits.model_copy(update=wider)


def entry_of(question: Question, checks: Checks) -> str | None:
    """Return the function an answer is about: the one set, or the last of ours that tests name."""
    if checks.entry is not None:
        return checks.entry
    ours = DEFINED.findall(f"{checks.before}\n{question.answer or ''}")
    named = set(re.findall(r"\w+", "\n".join(checks.suites.values())))
    return next((name for name in reversed(ours) if name in named), ours[-1] if ours else None)


def _job(question: Question, checks: Checks, code: str) -> str:
    """Return what the checker is to do with the code of an answer."""
    program = _program if checks.reads == "program" else _expression
    asked = checks.reads == "program"
    return json.dumps(
        {
            "program": program(checks, code),
            "entry": checks.entry if asked else "answer",
            "lends": _lent(question, checks) if asked else [],
            "classes": sorted(_classes(question, checks)) if asked else [],
            "values": not asked,
            "before": checks.before,
            "suites": dict(checks.suites),
        }
    )


def _lent(question: Question, checks: Checks) -> list[str]:
    """Return the names that tests take from a program beside its entry: those of the reference.

    Where no reference and no entry says what is asked for, it is the one name that nobody defines.

    Raises:
        GradingError: There are several of those.
    """
    ours = DEFINED.findall(question.answer or "")
    unknown = sorted(_undefined("\n".join((checks.before, *checks.suites.values()))))
    if ours:
        return ours
    if checks.entry is not None:  # classes that the entry works with
        return [name for name in unknown if name[0].isupper()]
    if len(unknown) > 1:
        raise GradingError(
            f"the tests of question {question.id!r} use {', '.join(map(repr, unknown))}, and "
            "nothing says which of them the answer defines: set questions.checks.entry, or "
            "questions.answer to a reference"
        )
    return unknown


def _classes(question: Question, checks: Checks) -> set[str]:
    """Return the classes that a question asks for: those of ours, or that its tests use as such.

    A name that starts with a capital is used as a class where tests read an attribute of what it
    gives, enter it, or ask whether something is of it.
    """
    tests = "\n".join(checks.suites.values())
    ours = f"{checks.before}\n{question.answer or ''}"
    found = set(re.findall(r"^class +(\w+)", ours, re.MULTILINE))
    functions = set(re.findall(r"^(?:async +)?def +(\w+)", ours, re.MULTILINE))
    used = [name for names in CLASS_USE.findall(tests) for name in names if name]
    for variable, name in MADE_BY.findall(tests):
        if re.search(rf"\b{variable}\.[A-Za-z_]", tests):
            used.append(name)
    return found | {name for name in used if name[0].isupper()} - functions


def _undefined(code: str) -> set[str]:
    """Return the names that code uses, and neither it nor Python defines; none if it is broken."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    names = [node for node in nodes if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    made |= {str(node.name) for node in nodes if isinstance(node, DEFINITIONS)}
    made |= {
        (name.asname or name.name).partition(".")[0]
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    return {node.id for node in names} - made - vars(builtins).keys() - sys.stdlib_module_names


def _program(checks: Checks, code: str) -> str:
    if defines(checks.before, checks.entry) and not defines(code, checks.entry):
        code = indent(dedented(code), "    ")  # the rest of the function that was begun
    return future_first(checks.before, code)


def _expression(checks: Checks, code: str) -> str:
    call = checks.reads == "call"
    constants = f"TEXT, ENTRY, CALL = {code!r}, {checks.entry!r}, {call!r}"
    around = f"{checks.before}\n{ARGUMENTS.format(entry=checks.entry)}" if call else ""
    return f"{around}\n{constants}\n{EXPRESSION}"


def _report_of(outcome: ProgramResult) -> dict[str, Any]:  # any: the checker's JSON
    """Return what the checker said; nothing where it did not come to its end, or not it alone."""
    lines = outcome.stdout.splitlines()
    if outcome.code != 0 or len(lines) != 1:
        return {}
    report: dict[str, Any] = json.loads(lines[0])  # any: JSON
    return report


def _end(outcome: ProgramResult) -> str:
    if outcome.stopped is not None:
        return f"it was stopped for its {outcome.stopped} after {outcome.seconds:.1f} s"
    return f"exit code {outcome.code}"
