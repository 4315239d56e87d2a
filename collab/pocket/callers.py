"""Scripted solvers that call for help with a tag, which no shipped reasoner was trained to write.

A third solver plans: it restates a problem's changes and computes none of them.

The solvers think about the problems of the shipped reasoners, one sum per line. They sometimes get
a sum with a large number wrong, and often write their tag before such a sum. They continue from the
sums on the trajectory, so a real model may help them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from collab.endpoints.scripted import EOS, Api, ScriptedServer, WordTokenizer, attentive
from collab.endpoints.tokens import Tokenizer
from collab.pocket.family import CONCLUSION, FACTORS, SIGNS, VERBS
from collab.pocket.server import find
from collab.pocket.tokenizer import END

CALLERS: Mapping[str, str] = {
    "splitting": "<bigmodel>",
    "relaying": "<call>40</call>",
    "planning": "",
}
"""The tag of each solver: that of SplitReason's model, that of RelayLLM's, and none."""
WRONG, WRONG_AT_LARGE, LARGE = 0.02, 0.15, 100
"""The chance of a wrong sum, the same if the result is large, and the limit for large results."""
FELT, FALSE_ALARM = 0.8, 0.03
"""The chance to call before a wrong sum, and before a correct one."""
DRAFTS = 64
"""The number of continuations of a prompt; the seed picks one."""
QUESTION = re.compile(r"\b(\w+ has (\d+) \w+\.)((?: (?:She|He) \w+(?: \d+)?\.)+) How many")
CHANGE = re.compile(r"(She|He) (\w+)(?: (\d+))?\.")
SUM = re.compile(r"\d+ (plus|minus|times) (\d+) is (\d+)\.")
OPERATIONS = {verb: kind for kind, verbs in VERBS.items() for verb in verbs}


def caller(name: str) -> Callable[[str], list[str]]:
    """Return the script of a solver."""
    tag = CALLERS[name]

    def continuations(prompt: str) -> list[str]:
        """Think about a problem; answer any other prompt as `collab doctor` expects."""
        before, _, thinking = prompt.rpartition("<think>")
        questions = QUESTION.findall(before)
        if not questions:
            return list(attentive(prompt))
        problem = _ParsedProblem.parse(*questions[-1])
        if "</think>" in thinking and name == "planning":
            return [problem.outline]
        if "</think>" in thinking:
            return [f"\n\nThe answer is \\boxed{{{problem.reached(thinking)[1]}}}."]
        draws = (random.Random(_hash(name, prompt, nth)) for nth in range(DRAFTS))
        return [problem.finish(thinking, tag, draw) for draw in draws]

    return continuations


@dataclass(frozen=True, slots=True)
class _ParsedProblem:
    """A problem parsed from its text: the start, and the changes as sign and number."""

    outline: str
    start: int
    changes: tuple[tuple[str, int], ...]

    @classmethod
    def parse(cls, opening: str, start: str, changes: str) -> _ParsedProblem:
        found = CHANGE.findall(changes)
        kinds = [(OPERATIONS[verb], number) for _, verb, number in found]
        signs = ((SIGNS[kind], FACTORS.get(kind) or int(number)) for kind, number in kinds)
        listed = ", ".join(f"{verb} {number}".strip() for _, verb, number in found)
        return cls(f"{opening}\n{found[0][0]} {listed}.", int(start), tuple(signs))

    def reached(self, thinking: str) -> tuple[int, int]:
        """Return how many changes the thinking has done, and its current value."""
        done, value = 0, self.start
        for sign, number, result in SUM.findall(thinking):
            if (sign, int(number)) in self.changes:
                done, value = self.changes.index((sign, int(number))) + 1, int(result)
        return done, value

    def finish(self, thinking: str, tag: str, draw: random.Random) -> str:
        """Continue to the end; an unanswered call changes nothing."""
        done, value = self.reached(thinking)
        lines = []
        for sign, number in self.changes[done:]:
            right = {"plus": value + number, "minus": value - number}.get(sign, value * number)
            wrong = draw.random() < (WRONG_AT_LARGE if right > LARGE else WRONG)
            called = tag if draw.random() < (FELT if wrong else FALSE_ALARM) else ""
            result = right + draw.choice((-10, -1, 1, 10)) if wrong else right
            lines.append(f"{called}{value} {sign} {number} is {result}.\n")
            value = result
        if not thinking.rstrip().endswith(f"{CONCLUSION} {value}."):
            lines.append(f"{CONCLUSION} {value}.\n")
        newline = "" if not thinking.strip() or thinking.endswith("\n") else "\n"
        return f"{newline}{''.join(lines)}</think>\n\nThe answer is \\boxed{{{value}}}."


class PocketScript(WordTokenizer):
    """The tokenizer of a shipped reasoner, for a scripted server."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._tokenizer = Tokenizer.load(folder)

    def encode(self, text: str) -> list[int]:
        """Tokenize a text; a script's end token becomes that of the reasoner."""
        return list(self._tokenizer.encode(END if text == EOS else text))

    def text(self, token: int) -> str:
        """Return the text of a token."""
        return self._tokenizer.decode([token])


def server(name: str, *, api: Api, names: frozenset[str]) -> ScriptedServer:
    """Return a server for a solver with the shipped reasoners' tokens, as the model 'scripted'."""
    folder = find("plain")
    template = (folder / "chat_template.jinja").read_text()
    words = PocketScript(folder)
    return ScriptedServer(
        caller(name), api=api, names=names, keep=0, template=template, tokenizer=words
    )


def _hash(*content: object) -> int:
    return int.from_bytes(blake2b(repr(content).encode(), digest_size=8).digest(), "big")
