"""A tool in a seat: it runs Python programs and replies with their output.

Output is stored like a draw, so a rerun or a resumed run does not run the program again.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import ClassVar

from collab.core.cost import Rates
from collab.core.policy import Inquiry, SideAnswer
from collab.core.sampling import Drawn, Generation, Request, Sampling
from collab.episode.reasoner import Likelihoods, Reply, Turn, WrittenTurn
from collab.errors import PolicyError
from collab.reasoners.advisers import named_option
from collab.sandbox import ProgramLimits, ProgramResult, Sandbox
from collab.store.store import Store

CELL = """
import ast

body = ast.parse(PROGRAM, "program").body
last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
names = {"__name__": "__main__"}
exec(compile(ast.Module(body, []), "program", "exec"), names)
if last is not None:
    value = eval(compile(ast.Expression(last.value), "program", "eval"), names)
    if value is not None:
        print(value)
"""
"""Runs a program like a notebook cell: the value of a last expression is printed."""
FENCED = re.compile(r"\s*```\w*\n(.*?)\n?```\s*", re.DOTALL)
MOST = 2_000
"""Characters of the output that are passed on."""


@dataclass(frozen=True)
class Tool:
    """An interpreter that runs each program in a new process."""

    sandbox: Sandbox
    store: Store
    packages: Sequence[str] = ()
    """Installed distributions that a program may import."""
    limits: ProgramLimits = ProgramLimits()  # noqa: RUF009 - a frozen value
    replicate: int = 0
    can: ClassVar[frozenset[str]] = frozenset({"advise"})
    think_close: ClassVar[str] = ""
    rates: ClassVar[Rates] = Rates()

    @property
    def identity(self) -> str:
        """Everything that determines the output of a program: interpreter, packages and limits."""
        packages = [f"{name}@{version(name)}" for name in self.packages]
        limits = sha256(self.limits.model_dump_json().encode()).hexdigest()[:8]
        return "/".join(("tool", f"python@{platform.python_version()}", *packages, limits))

    def count(self, text: str) -> int | None:
        """Return None: it has no tokenizer."""
        return None

    async def write(self, turn: Turn) -> WrittenTurn:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(
            f"seat {turn.seat!r} is a tool and cannot write; ask it, and insert the reply"
        )

    async def advise(self, turn: Turn, inquiry: Inquiry) -> Reply:
        """Run a program, fenced or bare, and reply with its output or its error."""
        fenced = FENCED.fullmatch(inquiry.text)
        program = fenced[1] if fenced else inquiry.text.strip()
        drawn = await self._run(turn, program)
        text = drawn.generation.text
        return Reply(SideAnswer(text, named_option(text, inquiry.options)), (drawn,))

    async def score(self, turn: Turn, text: str) -> Likelihoods:
        """Refuse.

        Raises:
            PolicyError: Always.
        """
        raise PolicyError(f"seat {turn.seat!r} is a tool and cannot score {text!r}")

    async def _run(self, turn: Turn, program: str) -> Drawn:
        request = Request(self.identity, program, Sampling(), 1, replicate=self.replicate)

        async def sample(missing: range) -> list[Generation]:
            cell = f"PROGRAM = {program!r}\n{CELL}"
            outcome = await self.sandbox.run(cell, packages=self.packages, limits=self.limits)
            return [Generation(tool_text(outcome), None, "stop", seconds=outcome.seconds)]

        (drawn,) = await self.store.draws(request, [turn.number(request)], sample, jointly=False)
        return drawn


def tool_text(outcome: ProgramResult) -> str:
    """Return a program's output, and the error that ended it, as text."""
    parts = [_shorten(outcome.stdout.rstrip())] if outcome.stdout.strip() else []
    if outcome.stopped == "time":
        parts.append("(stopped: it took too long)")
    elif outcome.stopped == "output":
        parts.append("(stopped: it printed too much)")
    elif outcome.code:
        lines = outcome.stderr.strip().splitlines()
        parts.append(_shorten(lines[-1]) if lines else f"(ended with exit code {outcome.code})")
    return "\n".join(parts) or "(it printed nothing)"


def _shorten(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}\n({len(text) - MOST:,} more characters)"
