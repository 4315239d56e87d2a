"""What a stranger's CI runs."""

from mylab.arbiter import Arbiter

from collab.testing import check_policy


def test_the_arbiter_keeps_its_contract() -> None:
    check_policy(Arbiter())


def test_the_arbiter_may_ask_a_human() -> None:
    episodes = check_policy(Arbiter(human="human"))
    log = [event for episode in episodes for event in episode.trajectory.log]
    assert any(event.event == "asked" and event.seat == "human" for event in log)
