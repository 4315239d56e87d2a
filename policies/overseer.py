"""Oversee: somebody looks at every unit, and keeps it, corrects it, has it written anew or stops.

The overseer is a model, a human at the terminal (`model@team.overseer=human`), or nobody but rules.
It works while `main` writes on: what is begun behind a unit that goes is stopped and never used.
"""

from typing import Literal

from pydantic import Field

from collab import (
    Adviser,
    Boundary,
    Close,
    Condition,
    Decision,
    Edit,
    Paragraph,
    Rewind,
    Settings,
    Stop,
    View,
    Write,
    Writer,
)

Ruling = Literal["accept", "correct", "rewind", "stop"]
CHOICES: tuple[Ruling, ...] = ("accept", "correct", "rewind", "stop")
QUESTION = """The last step of the thinking is:
{step}

What is to be done with it? accept: it is right. correct: you will write it as it should be.
rewind: it must be thought anew. stop: the thinking must end here. Answer with one word."""
CORRECTION = """The last step of the thinking is:
{step}

Write it as it should be, and nothing else."""


class Rule(Settings):
    """What is done with a unit of which something holds; the overseer gives no verdict on it."""

    when: Condition
    then: Ruling = "rewind"
    text: str = ""
    """What a corrected unit becomes; empty: what the overseer writes, nothing where there is none.
    """


class Overseer(Settings):
    """Let `main` write; after each unit a rule decides, else `overseer` is asked what to do.

    A rewound unit is written anew, as another draw. Where `retries` were rewound at one place, the
    next one is kept, or ends the episode where `strict`.
    """

    main: Writer = "main"
    overseer: Adviser | None = "overseer"
    """None: rules alone."""
    rules: tuple[Rule, ...] = ()
    """The first that holds counts."""
    charter: str = ""
    """A written policy that the thinking must keep to, such as one on safety; the overseer reads it
    before every verdict."""
    until: Boundary = Paragraph()
    retries: int = Field(default=3, ge=0)
    strict: bool = False
    ahead: bool = True
    """Whether `main` writes on while it is looked at: saves time, and costs what is stopped."""

    async def decide(self, view: View) -> Decision:
        """Look at a unit that nobody has looked at, else let `main` write on."""
        seen, vetoes = _memo(view)
        if seen >= len(view.units):
            return self._goes_on(view, vetoes, "main thinks")
        verdict, text = await self._verdict(view)
        if verdict == "rewind" and vetoes >= self.retries:
            verdict = "stop" if self.strict else "accept"
        place, step = len(view.units) - 1, view.units[-1].text.strip()[:60]
        match verdict:
            case "accept":
                return self._goes_on(view, 0, "the unit stands")
            case "correct":
                memo = [place + bool(text), 0]
                return Edit(place, text, f"corrected {step!r}", memo, seat=self.overseer)
            case "rewind":
                return Rewind(place, f"veto {vetoes + 1} of {step!r}", memo=[place, vetoes + 1])
            case "stop":
                return Stop(f"stopped at {step!r}")

    async def _verdict(self, view: View) -> tuple[Ruling, str | None]:
        """Return what is to be done with the last unit, and what it becomes if it is corrected."""
        rule = next((one for one in self.rules if one.when.holds(view, view.units[-1:])), None)
        verdict, text = (rule.then, rule.text) if rule else ("accept", "")
        if self.overseer and rule is None:
            if self.ahead:
                view.prefetch(self._goes_on(view, 0, ""))
            said = await view.ask(self.overseer, self._asks(view, QUESTION), choices=CHOICES)
            verdict = next((one for one in CHOICES if one == said), "accept")
        if self.overseer and verdict == "correct" and not text:
            said = await view.ask(self.overseer, self._asks(view, CORRECTION))
            text = f"{said.strip()}\n\n" if said.strip() else ""
        return verdict, text or None

    def _asks(self, view: View, question: str) -> str:
        charter = f"This policy holds:\n{self.charter.strip()}\n\n" if self.charter else ""
        return charter + question.format(step=view.units[-1].text.strip())

    def _goes_on(self, view: View, vetoes: int, why: str) -> Decision:
        memo = [len(view.units), vetoes]
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking", memo=memo)
        return Write(self.main, self.until, why=why, memo=memo)


def _memo(view: View) -> tuple[int, int]:
    """Return how many units were looked at, and how many draws were rewound at the next place."""
    match view.memo:
        case [int(seen), int(vetoes)]:
            return seen, vetoes
    return 0, 0
