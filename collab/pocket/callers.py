"""Scripted solvers that call for help by a tag: no shipped reasoner was trained to write one.

A third one plans: it says a problem's changes again and works none of them out.

They think about the shipped reasoners' own problems, a sum a line. A sum with a large number they
get wrong at times, and often feel it coming: then their tag stands before it. They go on from
whatever sums stand on the trajectory, so a real model may help them.
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
"""The tag by which each calls: as SplitReason's model does, as RelayLLM's, and never."""
WRONG, WRONG_AT_LARGE, LARGE = 0.02, 0.15, 100
"""The chance to get a sum wrong, and one whose result is large."""
FELT, FALSE_ALARM = 0.8, 0.03
"""The chance to call before a sum that goes wrong, and before one that does not."""
DRAFTS = 64
"""How many ways there are to go on from a prompt; the seed picks one."""
BEGUN = re.compile(r"\b(\w+ has (\d+) \w+\.)((?: (?:She|He) \w+(?: \d+)?\.)+) How many")
CHANGE = re.compile(r"(She|He) (\w+)(?: (\d+))?\.")
SUM = re.compile(r"\d+ (plus|minus|times) (\d+) is (\d+)\.")
SAID = {verb: kind for kind, verbs in VERBS.items() for verb in verbs}


def caller(name: str) -> Callable[[str], list[str]]:
    """Return the script of a solver."""
    tag = CALLERS[name]

    def go_on(prompt: str) -> list[str]:
        """Think a problem through; whatever else is asked, answer as `collab doctor` wants."""
        said, _, thinking = prompt.rpartition("<think>")
        asked = BEGUN.findall(said)
        if not asked:
            return list(attentive(prompt))
        problem = _Problem.read(*asked[-1])
        if "</think>" in thinking and name == "planning":
            return [problem.outline]
        if "</think>" in thinking:
            return [f"\n\nThe answer is \\boxed{{{problem.reached(thinking)[1]}}}."]
        draws = (random.Random(_hash(name, prompt, nth)) for nth in range(DRAFTS))
        return [problem.finish(thinking, tag, draw) for draw in draws]

    return go_on


@dataclass(frozen=True, slots=True)
class _Problem:
    """A start, and changes as sign and number."""

    outline: str
    start: int
    changes: tuple[tuple[str, int], ...]

    @classmethod
    def read(cls, begun: str, start: str, told: str) -> _Problem:
        found = CHANGE.findall(told)
        kinds = [(SAID[verb], number) for _, verb, number in found]
        signs = ((SIGNS[kind], FACTORS.get(kind) or int(number)) for kind, number in kinds)
        changes = ", ".join(f"{verb} {number}".strip() for _, verb, number in found)
        return cls(f"{begun}\n{found[0][0]} {changes}.", int(start), tuple(signs))

    def reached(self, thinking: str) -> tuple[int, int]:
        """Return how many changes are done, and what there is now."""
        done, value = 0, self.start
        for sign, number, result in SUM.findall(thinking):
            if (sign, int(number)) in self.changes:
                done, value = self.changes.index((sign, int(number))) + 1, int(result)
        return done, value

    def finish(self, thinking: str, tag: str, draw: random.Random) -> str:
        """Go on to the end; a call that nobody answers changes nothing."""
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
        begun = "" if not thinking.strip() or thinking.endswith("\n") else "\n"
        return f"{begun}{''.join(lines)}</think>\n\nThe answer is \\boxed{{{value}}}."


class PocketScript(WordTokenizer):
    """The tokens of a shipped reasoner, for a script to write."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._tokenizer = Tokenizer.load(folder)

    def encode(self, text: str) -> list[int]:
        """Tokenize; what ends a script's text is what ends the reasoner's."""
        return list(self._tokenizer.encode(END if text == EOS else text))

    def text(self, token: int) -> str:
        """Return the text of a token."""
        return self._tokenizer.decode([token])


def server(name: str, *, api: Api, names: frozenset[str]) -> ScriptedServer:
    """Serve a solver that writes the tokens of the shipped reasoners, by the name 'scripted'."""
    folder = find("plain")
    template = (folder / "chat_template.jinja").read_text()
    words = PocketScript(folder)
    return ScriptedServer(
        caller(name), api=api, names=names, keep=0, template=template, tokenizer=words
    )


def _hash(*content: object) -> int:
    return int.from_bytes(blake2b(repr(content).encode(), digest_size=8).digest(), "big")
