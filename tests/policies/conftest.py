"""Views made by hand: what a policy sees at any moment, without an episode."""

import random
from collections.abc import Mapping
from typing import Protocol

import pytest

from collab import Message, Trajectory, Unit, View
from collab.core.policy import NoSideChannel, SideChannel
from collab.core.trajectory import Ended, Json, Wrote

NOBODY = NoSideChannel()


class Look(Protocol):
    """Make a view of some written units."""

    def __call__(
        self,
        *written: tuple[str, str] | Unit,
        step: int = 0,
        closed: bool = False,
        recordings: Mapping[str, int] | None = None,
        memo: Json = None,
        aside: SideChannel = ...,
        exhausted: frozenset[str] = ...,
    ) -> View: ...


@pytest.fixture
def look() -> Look:
    """Return how to make a view: units, or (author, text); the last one `closed`."""

    def make(
        *written: tuple[str, str] | Unit,
        step: int = 0,
        closed: bool = False,
        recordings: Mapping[str, int] | None = None,
        memo: Json = None,
        aside: SideChannel = NOBODY,
        exhausted: frozenset[str] = frozenset(),
    ) -> View:
        trajectory = Trajectory()
        for one in written:
            unit = one if isinstance(one, Unit) else Unit(*one, "generated")
            trajectory = trajectory.add(Wrote(unit))
        if closed:
            trajectory = trajectory.add(Ended(trajectory.units[-1].author))
        return View(
            question=(Message("user", "1 + 1?"),),
            trajectory=trajectory,
            seats=("distractor", "guide", "main"),
            recordings=recordings or {},
            exhausted=exhausted,
            tokens_left=100,
            step=step,
            memo=memo,
            rng=random.Random(0),
            side_channel=aside,
        )

    return make
