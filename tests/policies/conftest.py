"""Views made by hand: what a policy sees at any moment, without an episode."""

import random
from collections.abc import Mapping
from typing import Protocol

import pytest

from collab import Message, Trajectory, Unit, View
from collab.trajectory import Ended, Wrote


class Look(Protocol):
    """Make a view of some written units."""

    def __call__(
        self,
        *written: tuple[str, str],
        step: int = 0,
        closed: bool = False,
        recordings: Mapping[str, int] | None = None,
    ) -> View: ...


@pytest.fixture
def look() -> Look:
    """Return how to make a view: (author, text) a unit; the last one `closed` its thinking."""

    def make(
        *written: tuple[str, str],
        step: int = 0,
        closed: bool = False,
        recordings: Mapping[str, int] | None = None,
    ) -> View:
        trajectory = Trajectory()
        for author, text in written:
            trajectory = trajectory.add(Wrote(Unit(author, text, "generated")))
        if closed:
            trajectory = trajectory.add(Ended(written[-1][0]))
        return View(
            question=(Message("user", "1 + 1?"),),
            trajectory=trajectory,
            seats=("distractor", "guide", "main"),
            recordings=recordings or {},
            tokens_left=100,
            step=step,
            memo=None,
            rng=random.Random(0),
        )

    return make
