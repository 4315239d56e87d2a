"""Oversee: every unit is reviewed, then accepted, corrected, rewound, or the end of the episode.

The overseer is a model, a human at the terminal (`model@team.overseer=human`), or a set of rules.
`main` may continue while its last unit is reviewed. If that unit is rejected, the continuation is
stopped and never used.
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
    """A ruling for every unit on which a condition holds; the overseer is not asked."""

    when: Condition
    """Condition on the unit."""
    then: Ruling = "rewind"
    """Ruling on the unit."""
    text: str = ""
    """Text of a corrected unit; empty: the overseer writes it, or without one the unit is struck.
    """


class Overseer(Settings):
    """Let `main` write, and rule on each unit: by the rules, else by asking `overseer`.

    A rewound unit is written again, as another draw. After `retries` rewinds at one place, the next
    draw is accepted, or with `strict` ends the episode.
    """

    main: Writer = "main"
    """Seat that thinks and answers."""
    overseer: Adviser | None = "overseer"
    """Seat that is asked; None: only the rules decide."""
    rules: tuple[Rule, ...] = ()
    """Rules, such as {when: {_target_: collab.core.condition.Repeats, times: 1}, then: rewind,
    text: ""}; `then` is accept, correct, rewind or stop. The first that holds counts."""
    charter: str = ""
    """Written policy for the thinking, such as one on safety. The overseer reads it before every
    ruling; empty: none."""
    until: Boundary = Paragraph()
    """Where a unit ends."""
    retries: int = Field(default=3, ge=0)
    """Rewinds at one place, at most."""
    strict: bool = False
    """Whether a further rejection ends the episode; else the unit is accepted."""
    ahead: bool = True
    """Whether `main` continues while its unit is reviewed. It saves time, and costs the tokens of
    continuations that are stopped."""

    async def decide(self, view: View) -> Decision:
        """Rule on the last unit if it is new, else let `main` write."""
        reviewed, vetoes = _read_memo(view)
        if reviewed >= len(view.units):
            return self._continue(view, vetoes, "main thinks")
        ruling, text = await self._rule(view)
        if ruling == "rewind" and vetoes >= self.retries:
            ruling = "stop" if self.strict else "accept"
        place, step = len(view.units) - 1, view.units[-1].text.strip()[:60]
        match ruling:
            case "accept":
                return self._continue(view, 0, "the unit is accepted")
            case "correct":
                memo = [place + bool(text), 0]
                return Edit(place, text, f"corrected {step!r}", memo, seat=self.overseer)
            case "rewind":
                return Rewind(place, f"veto {vetoes + 1} of {step!r}", memo=[place, vetoes + 1])
            case "stop":
                return Stop(f"stopped at {step!r}")

    async def _rule(self, view: View) -> tuple[Ruling, str | None]:
        """Return the ruling on the last unit, and the text of its correction, if any."""
        rule = next((one for one in self.rules if one.when.holds(view, view.units[-1:])), None)
        ruling, text = (rule.then, rule.text) if rule else ("accept", "")
        if self.overseer and rule is None:
            if self.ahead:
                view.prefetch(self._continue(view, 0, ""))
            choice = await view.ask(self.overseer, self._prompt(view, QUESTION), choices=CHOICES)
            ruling = next((one for one in CHOICES if one == choice), "accept")
        if self.overseer and ruling == "correct" and not text:
            reply = await view.ask(self.overseer, self._prompt(view, CORRECTION))
            text = f"{reply.strip()}\n\n" if reply.strip() else ""
        return ruling, text or None

    def _prompt(self, view: View, question: str) -> str:
        charter = f"This policy holds:\n{self.charter.strip()}\n\n" if self.charter else ""
        return charter + question.format(step=view.units[-1].text.strip())

    def _continue(self, view: View, vetoes: int, why: str) -> Decision:
        memo = [len(view.units), vetoes]
        if view.closed_by:
            return Close(self.main, why=f"{view.closed_by} closed the thinking", memo=memo)
        return Write(self.main, self.until, why=why, memo=memo)


def _read_memo(view: View) -> tuple[int, int]:
    """Return how many units are reviewed, and how often the next place was rewound."""
    match view.memo:
        case [int(reviewed), int(vetoes)]:
            return reviewed, vetoes
    return 0, 0
