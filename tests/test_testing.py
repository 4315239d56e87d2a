"""The conformance kit finds what breaks the contract."""

import random
from typing import ClassVar

import pytest
from pydantic import ConfigDict

from collab import Close, Decision, Insert, Settings, Stop, View, Write, Writer
from collab.testing import check_policy


class Good(Settings):
    main: Writer = "main"

    async def decide(self, view: View) -> Decision:
        return Close(self.main) if view.closed_by else Write(self.main)


class Counting(Good):
    count: ClassVar[list[int]] = []

    async def decide(self, view: View) -> Decision:
        self.count.append(1)
        return Write(self.main, why=f"{len(self.count)}")


class Dicing(Good):
    async def decide(self, view: View) -> Decision:
        return Stop(str(random.random()))


class Undeclared(Good):
    async def decide(self, view: View) -> Decision:
        return Write("helper")


class Stumbling(Good):
    async def decide(self, view: View) -> Decision:
        return Write(self.main) if view.step == len(view.units) else Stop(view.units[-1].text)


class Endless(Good):
    async def decide(self, view: View) -> Decision:
        return Insert(self.main, "")


class Asking(Good):
    asked: ClassVar[list[int]] = []

    async def decide(self, view: View) -> Decision:
        self.asked.append(1)
        if len(self.asked) == 2:
            await view.ask(self.main, "Well?")
        return Stop("enough")


class Hot(Settings):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=False)

    async def decide(self, view: View) -> Decision:
        return Stop("at once")


def test_a_policy_that_keeps_its_contract_passes_and_all_its_episodes_end() -> None:
    finishes = [episode.finish for episode in check_policy(Good())]
    assert set(finishes) == {"answered", "never closed"}


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Counting(), "from the same view"),
        (Dicing(), "draw from view.rng alone"),
        (Undeclared(), r"declares the seats \['main'\] alone"),
        (Stumbling(), "IndexError"),
        (Asking(), "did not ask before"),
        (Hot(), "is not frozen"),
    ],
)
def test_what_breaks_the_contract_is_named(policy: Good, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_policy(policy)


def test_a_policy_that_never_ends_is_found() -> None:
    with pytest.raises(AssertionError, match="decisions without an end"):
        check_policy(Endless())


def test_a_thing_that_decides_nothing_is_no_policy() -> None:
    with pytest.raises(AssertionError, match="is no policy"):
        check_policy("solo")  # type: ignore[arg-type]  # what a caller without types may do
