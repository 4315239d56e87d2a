"""Labels by hand: kept, drawn in one order, compared with the rules and with each other."""

from pathlib import Path

import pytest

from collab.analysis.annotations import Ratings, checked, failings, labelled
from collab.analysis.failure_modes import Failing
from collab.core.design import Design, Label
from collab.core.trajectory import Message, Question, Trajectory, Unit, Wrote
from collab.episode.engine import Case, Episode
from collab.errors import RunError
from collab.policies.solo import Solo
from collab.runs.run_folder import RunFolder, RunStatus
from collab.scenarios.base import Score

ASKED = Question("q", (Message("user", "How many nuts?"),), "7")
STEER: dict[str, Label] = {"arm": "steer", "steer": "other", "steer_question": "r", "level": "easy"}


def made(path: Path, count: int = 6) -> RunFolder:
    """Make a run: every third steered episode is solved; the others name trains or nuts in turn."""
    with RunFolder.enter(path, {"scenario": "x"}, {}) as folder:
        folder.ask([ASKED])
        folder.write_status(RunStatus("Recoverability", "level", count + 1))
        for nth in range(count):
            case = Case(f"c{nth}", ASKED, Solo())
            units = (
                Unit("distractor", "A train with 5 wagons.", "recorded"),
                Unit("main", ("The train." if nth % 2 else "The nuts."), "generated"),
            )
            trajectory = Trajectory.replay([Wrote(unit) for unit in units])
            score = Score(
                case.id,
                "q",
                "wrong" if nth % 3 else "correct",
                *Design.split(STEER | {"pair": str(nth)}),
            )
            folder.add(Episode(case.id, trajectory, "answered"), case, score)
        if not count:
            return folder
        control = Case("control", ASKED, Solo())
        score = Score("control", "q", "wrong", Design(arm="none", pair="1"), {"level": "easy"})
        folder.add(Episode("control", Trajectory(), "answered"), control, score)
    return folder


def test_failed_episodes_are_labelled_by_rule_and_steered_ones_drawn(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert failings(folder) == {
        "c1": "never came back",
        "c2": "came back and failed",
        "c4": "came back and failed",
        "c5": "never came back",
        "control": "own mistake",
    }
    assert failings(folder, ["c0", "c1"]) == {"c1": "never came back"}
    orders = {tuple(labelled(folder, seed)) for seed in range(9)}
    assert {frozenset(order) for order in orders} == {frozenset({"c1", "c2", "c4", "c5"})}
    assert len(orders) > 1
    assert labelled(folder, 3) == labelled(RunFolder(tmp_path), 3)


def test_the_last_label_of_a_rater_counts_and_a_torn_line_is_none(tmp_path: Path) -> None:
    ratings = Ratings(made(tmp_path))
    for said in ("unclear", "never came back"):
        ratings.add("c1", "anna", said)
    with (tmp_path / "ratings.jsonl").open("a") as file:
        file.write('{"case": "c2", "rat')
    assert ratings.of() == {"anna": {"c1": "never came back"}}
    ratings.add("c2", "ben", "unclear")
    assert ratings.of() == {"anna": {"c1": "never came back"}, "ben": {"c2": "unclear"}}


def test_a_line_that_is_no_label_is_named(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (tmp_path / "ratings.jsonl").write_text('{"case": "c1", "rater": "a", "failing": "bored"}\n')
    with pytest.raises(RunError, match=r"ratings.jsonl', line 1: damaged"):
        Ratings(folder).of()


def test_rules_and_raters_are_compared_over_runs_each_episode_once(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    said: dict[str, list[Failing]] = {
        "anna": ["never came back", "came back and failed", "unclear", "never came back"],
        "ben": ["unclear", "came back and failed"],
    }
    for rater, labels in said.items():
        for case, label in zip(("c1", "c2", "c4", "c5"), labels, strict=False):
            Ratings(one).add(case, rater, label)
    Ratings(other).add("c1", "ben", "never came back")
    Ratings(other).add("c0", "ben", "unclear")  # it was solved: nothing to compare with
    found = checked([one, other])
    assert (found.n, found.enough) == (5, False)
    overall = found.agreement()
    assert (overall.n, overall.agreed) == (5, 4)
    assert found.agreement("never came back").agreed == 5
    ((raters, between),) = found.between_raters().items()
    assert (raters, between.n, between.agreed) == (("anna", "ben"), 2, 1)
