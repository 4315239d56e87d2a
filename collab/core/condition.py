"""When: what may be true of a stretch of thinking. `a | b & c` makes one condition of several.

A condition looks at a stretch of units: `Until` gives it the whole living thinking, a policy that
waits for something the units since it last happened. Time and money are the whole episode's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field, field_validator
from typing_extensions import override

from collab.core.policy import View
from collab.core.settings import Settings
from collab.core.trajectory import Unit


class Condition(Settings):
    """Something that holds of a stretch of thinking, or does not."""

    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        """Say whether it holds of `units`, in the episode that `view` shows."""
        raise NotImplementedError

    def __or__(self, other: Condition) -> Condition:
        """Hold where one of the two does."""
        return AnyOf(of=(self, other))

    def __and__(self, other: Condition) -> Condition:
        """Hold where both do."""
        return AllOf(of=(self, other))


class AnyOf(Condition):
    """One of several holds."""

    of: tuple[Condition, ...] = Field(min_length=1)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return any(one.holds(view, units) for one in self.of)


class AllOf(Condition):
    """All of several hold."""

    of: tuple[Condition, ...] = Field(min_length=1)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return all(one.holds(view, units) for one in self.of)


class AfterUnits(Condition):
    """The stretch has so many units."""

    count: int = Field(ge=1)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return len(units) >= self.count


class AfterTokens(Condition):
    """The stretch has so many tokens, each author's counted by its own tokenizer."""

    count: int = Field(ge=1)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return sum(unit.tokens for unit in units) >= self.count


class AfterMoney(Condition):
    """The episode has cost so many US dollars, stored draws as when they were sampled."""

    dollars: float = Field(gt=0)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return view.spent.money >= self.dollars


class AfterSeconds(Condition):
    """The episode's requests took so many seconds, stored ones as when they were sampled."""

    seconds: float = Field(gt=0)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return view.spent.seconds >= self.seconds


class Says(Condition):
    """A pattern (a regular expression, case ignored) is found in the last units."""

    pattern: str
    last: int | None = Field(default=1, ge=1)
    """Units that are looked at; None: the whole stretch."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
        return pattern

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        looked = units if self.last is None else units[-self.last :]
        text = "".join(unit.text for unit in looked)
        return re.search(self.pattern, text, re.IGNORECASE) is not None


class Boxed(Condition):
    r"""The stretch holds a boxed answer, `\boxed{…}` with something in it."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return re.search(r"\\boxed\{\s*[^\s}]", "".join(unit.text for unit in units)) is not None


class Repeats(Condition):
    """The last unit says what so many units of the stretch said before it, blanks aside."""

    times: int = Field(default=1, ge=1)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        said = [" ".join(unit.text.split()) for unit in units]
        return bool(said and said[-1]) and said[:-1].count(said[-1]) >= self.times


class Unsure(Condition):
    """Each of the last units was written with a mean entropy above a bound."""

    needs = frozenset({"logprobs"})

    entropy_above: float = Field(default=1.0, gt=0)
    """Mean over a unit's tokens of the entropy of the 20 likeliest (nats)."""
    units: int = Field(default=1, ge=1)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        last = [unit.top20_entropy for unit in units[-self.units :]]
        unsure = [one for one in last if one is not None and one > self.entropy_above]
        return len(unsure) == self.units


class Called(Condition):
    """The last unit is a signal that ends in a tag: its author asks for something."""

    tag: str = Field(min_length=1)

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return bool(units) and units[-1].kind == "signal" and units[-1].text.endswith(self.tag)
