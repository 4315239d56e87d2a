"""Answers that are code, judged by running them: program and tests in one sandbox, two processes.

See `checker.py` for what happens in there. A program that takes too much time or memory, ends early
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
from dataclasses import replace
from hashlib import blake2b
from importlib.resources import files
from textwrap import dedent, indent
from typing import Any, Self

from pydantic import Field

from collab.core.settings import Settings
from collab.core.trajectory import Checks, Question
from collab.errors import GradingError
from collab.grading import Judgement
from collab.grading.extract import defines, find
from collab.sandbox import ProgramLimits, ProgramResult, Sandbox
from collab.sandbox.named import SANDBOXES, SandboxName

Faults = Mapping[str, str | None]
"""What was wrong with each suite of tests; None where it passed."""
CHECKER = files("collab.grading").joinpath("checker.py").read_text("utf-8")
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

FUTURE = re.compile(r"^from __future__ import [\w, ]+$", re.MULTILINE)
DEFINED = re.compile(r"^(?:async +)?(?:def|class) +(\w+)", re.MULTILINE)
"""What code defines at its outermost level."""
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
        right = not any(faults.values())
        return Judgement(
            verdict="correct" if right else "wrong",
            lenient=right,
            strict=right and found.asked,
            extracted=found.code,
            details={"suites": {name: fault or "passed" for name, fault in faults.items()}},
        )

    async def _judged(self, job: str, checks: Checks) -> Faults:
        key = blake2b(job.encode()).digest()
        task = self._faults.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._faults[key] = asyncio.create_task(self._run(job, checks))
        return await asyncio.shield(task)

    async def _run(self, job: str, checks: Checks) -> Faults:
        limits = _wide_enough(self._limits, checks)
        outcome = await self._sandbox.run(CHECKER, job, checks.packages, limits)
        told = _told(outcome)
        if "broken" in told:
            raise GradingError(f"the tests are broken: {told['broken']}")
        faults: Faults = told.get("suites", {})
        missing = f"the program ended its tests: {_end(outcome)}"
        return {name: faults.get(name, missing) for name in json.loads(job)["suites"]}


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
    if ours or checks.entry is not None:
        return ours
    unknown = sorted(_undefined("\n".join((checks.before, *checks.suites.values()))))
    if len(unknown) > 1:
        raise GradingError(
            f"the tests of question {question.id!r} use {', '.join(map(repr, unknown))}, and "
            "nothing says which of them the answer defines: set questions.checks.entry, or "
            "questions.answer to a reference"
        )
    return unknown


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
        code = indent(_dedented(code), "    ")  # the rest of the function that was begun
    future = "".join(f"{line}\n" for line in FUTURE.findall(code))  # Python wants it first
    return f"{future}{checks.before}\n{FUTURE.sub('', code)}"


def _dedented(code: str) -> str:
    """Take off the margin, which the first line may have lost."""
    first, _, rest = code.strip("\n").partition("\n")
    lines = [line for line in rest.split("\n") if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    lost = first[:1].strip() and margin
    if lost and first.rstrip().endswith(":"):  # the next line may be its block
        lost = len(lines[0]) - len(lines[0].lstrip()) > margin
    return f"{first}\n{dedent(rest)}" if lost else dedent(code)


def _expression(checks: Checks, code: str) -> str:
    call = checks.reads == "call"
    constants = f"TEXT, ENTRY, CALL = {code!r}, {checks.entry!r}, {call!r}"
    around = f"{checks.before}\n{ARGUMENTS.format(entry=checks.entry)}" if call else ""
    return f"{around}\n{constants}\n{EXPRESSION}"


def _told(outcome: ProgramResult) -> dict[str, Any]:  # any: the checker's JSON
    """Return what the checker said; nothing where it did not come to its end, or not it alone."""
    lines = outcome.stdout.splitlines()
    if outcome.code != 0 or len(lines) != 1:
        return {}
    told: dict[str, Any] = json.loads(lines[0])  # any: likewise
    return told


def _end(outcome: ProgramResult) -> str:
    if outcome.stopped is not None:
        return f"it was stopped for its {outcome.stopped} after {outcome.seconds:.1f} s"
    return f"exit code {outcome.code}"
