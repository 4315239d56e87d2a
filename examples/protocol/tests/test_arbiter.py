"""The tests of this package: its policy and its scenario keep their contracts."""

from mylab.arbiter import Arbiter
from mylab.by_length import ByLength

from collab.testing import check_policy, check_scenario


def test_the_arbiter_keeps_its_contract() -> None:
    check_policy(Arbiter())


def test_the_arbiter_may_ask_a_human() -> None:
    episodes = check_policy(Arbiter(human="human"))
    log = [event for episode in episodes for event in episode.trajectory.log]
    assert any(event.event == "asked" and event.seat == "human" for event in log)


def test_the_scenario_keeps_its_contract() -> None:
    cases = check_scenario(ByLength(words=5), Arbiter())
    assert {case.labels["length"] for case in cases} == {"long", "short"}
