"""Conditions on a stretch of thinking; combine them with `|` and `&`.

A condition is checked on a sequence of units. `Until` passes all living units; a policy that waits
for an event passes the units since the last one. Time and money always cover the whole episode.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field
from typing_extensions import override

from collab.core.pattern_text import PatternText
from collab.core.policy import View
from collab.core.settings import Settings
from collab.core.trajectory import Unit


class Condition(Settings):
    """A test on a stretch of thinking.

    Examples:
        >>> from collab import AfterUnits, Says
        >>> AfterUnits(count=8) | Says(pattern="wait")
        AnyOf(of=(AfterUnits(count=8), Says(pattern='wait', last=1)))
    """

    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        """Check the condition on `units` of the episode that `view` shows."""
        raise NotImplementedError

    def __or__(self, other: Condition) -> Condition:
        """Combine two conditions: at least one holds."""
        return AnyOf(of=(self, other))

    def __and__(self, other: Condition) -> Condition:
        """Combine two conditions: both hold."""
        return AllOf(of=(self, other))


class AnyOf(Condition):
    """At least one of several conditions holds."""

    of: tuple[Condition, ...] = Field(min_length=1)
    """Conditions."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return any(one.holds(view, units) for one in self.of)


class AllOf(Condition):
    """All of several conditions hold."""

    of: tuple[Condition, ...] = Field(min_length=1)
    """Conditions."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return all(one.holds(view, units) for one in self.of)


class AfterUnits(Condition):
    """The stretch has at least `count` units."""

    count: int = Field(ge=1)
    """Units."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return len(units) >= self.count


class AfterTokens(Condition):
    """The stretch has at least `count` tokens."""

    count: int = Field(ge=1)
    """Tokens, each author's counted by its own tokenizer."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return sum(unit.tokens for unit in units) >= self.count


class AfterMoney(Condition):
    """The episode has cost at least `dollars`."""

    dollars: float = Field(gt=0)
    """US dollars of the whole episode; stored draws cost what they cost when they were sampled."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return view.spent.money >= self.dollars


class AfterSeconds(Condition):
    """The episode's requests took at least `seconds`."""

    seconds: float = Field(gt=0)
    """Seconds of all requests of the episode; stored draws count as when they were sampled."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return view.spent.seconds >= self.seconds


class Says(Condition):
    """A pattern occurs in the last units."""

    pattern: PatternText
    """Regular expression; case is ignored."""
    last: int | None = Field(default=1, ge=1)
    """Units that are searched; None: the whole stretch."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        looked = units if self.last is None else units[-self.last :]
        text = "".join(unit.text for unit in looked)
        return re.search(self.pattern, text, re.IGNORECASE) is not None


class Boxed(Condition):
    r"""The stretch contains a boxed answer, `\boxed{…}`, that is not empty."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return re.search(r"\\boxed\{\s*[^\s}]", "".join(unit.text for unit in units)) is not None


class Repeats(Condition):
    """The last unit repeats earlier units of the stretch; white space does not count."""

    times: int = Field(default=1, ge=1)
    """Earlier units with the same text, at least."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        texts = [" ".join(unit.text.split()) for unit in units]
        return bool(texts and texts[-1]) and texts[:-1].count(texts[-1]) >= self.times


class Unsure(Condition):
    """The last units were each written with a mean token entropy above a bound."""

    needs = frozenset({"logprobs"})

    entropy_above: float = Field(default=1.0, gt=0)
    """Entropy of the 20 likeliest tokens (nats), as the mean over the tokens of a unit."""
    units: int = Field(default=1, ge=1)
    """Units in a row."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        last = [unit.top20_entropy for unit in units[-self.units :]]
        unsure = [one for one in last if one is not None and one > self.entropy_above]
        return len(unsure) == self.units


class Called(Condition):
    """The last unit is a signal that ends in a tag, with which its author asks for help."""

    tag: str = Field(min_length=1)
    """Tag that ends the signal."""

    @override
    def holds(self, view: View, units: Sequence[Unit]) -> bool:
        return bool(units) and units[-1].kind == "signal" and units[-1].text.endswith(self.tag)
