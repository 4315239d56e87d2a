import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from collab.core.design import Design
from collab.core.trajectory import Message, Question, Trajectory
from collab.episode.engine import Case, Episode
from collab.errors import RunError
from collab.policies.solo import Solo
from collab.report.runs import RunSummary, jobs, listing, runs_table, survey
from collab.report.tables import print_whole
from collab.runs.run_folder import RunFolder, RunStatus
from collab.scenarios.base import Score

ASKED = Question("q", (Message("user", "q?"),), "7")
DECIDES: dict[str, Any] = {  # any: JSON
    "scenario": {"_target_": "collab.scenarios.recoverability.Recoverability", "length": 0.2},
    "policy": {"_target_": "collab.policies.distractor.Distractor", "phrase": "Hm."},
    "team": {"main": {"id": "plain", "temperature": 0.6}, "guide": {"id": "strong"}},
    "models": {"main": {"identity": "plain@1"}},
}


def lines(shown: RenderableType) -> list[str]:
    out = StringIO()
    print_whole(Console(file=out, width=40), shown)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def changed(**values: object) -> dict[str, Any]:
    """DECIDES with some values changed, named by dotted keys whose dots are `__`."""
    decides: dict[str, Any] = json.loads(json.dumps(DECIDES))
    for key, value in values.items():
        *path, last = key.split("__")
        at = decides
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    return decides


def solved(case: str, correct: bool, **labels: str) -> Score:
    return Score(
        case, "q", "correct" if correct else "wrong", *Design.split({"level": "easy", **labels})
    )


def made(
    path: Path,
    *scores: Score,
    decides: dict[str, Any] = DECIDES,
    standing: RunStatus | None = None,
) -> RunFolder:
    with RunFolder.enter(path, decides, {}) as folder:
        folder.write_status(standing or RunStatus("Solo · main x", "level", len(scores)))
        folder.ask([ASKED])
        for score in scores:
            case = Case(score.case, ASKED, Solo())
            folder.add(Episode(score.case, Trajectory(), "answered"), case, score)
    return folder


TWIN = (
    solved("a", False, arm="steer", pair="1"),
    solved("b", True, arm="steer", pair="2"),
    solved("c", True, arm="none", pair="1"),
    solved("d", True, arm="none", pair="2"),
)


def test_runs_are_found_at_a_path_and_below_it(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a"):
        made(tmp_path / name)
    assert [job.folder.path for job in jobs(tmp_path)] == [
        tmp_path / n for n in ("a", "b/1", "b/2")
    ]
    assert [job.folder.path for job in jobs(tmp_path / "a")] == [tmp_path / "a"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no run"):
        jobs(tmp_path / "empty")
    with pytest.raises(RunError, match="is not a folder"):
        jobs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("standing", "state", "episodes"),
    [
        (RunStatus("t", "level", 2), "finished", "2"),
        (RunStatus("t", "level", 3), "stopped", "2 of 3"),
        (RunStatus("t", "level"), "stopped", "2"),
        (RunStatus("t", "level", 3, (), {"c": "no reply"}), "1 failed", "2 of 3"),
    ],
)
def test_how_a_run_stands_is_told(
    tmp_path: Path, standing: RunStatus, state: str, episodes: str
) -> None:
    job = RunSummary(made(tmp_path, solved("a", True), solved("b", False), standing=standing))
    assert (job.state, job.episodes) == (state, episodes)
    with RunFolder.enter(tmp_path, DECIDES, {}):
        assert job.state == "running"
    assert RunSummary(RunFolder(tmp_path)).state == state


def test_runs_are_listed_with_their_headlines_the_last_started_first(tmp_path: Path) -> None:
    for name, at, scores in (("old", "2026-01-01", TWIN), ("new", "2026-02-01", TWIN[:1])):
        made(tmp_path / name, *scores)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        manifest["starts"][-1]["at"] = f"{at}T10:20:30+00:00"
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    made(tmp_path / "none", standing=RunStatus("t", "level"))
    head, none, new, old = lines(listing(jobs(tmp_path)))
    assert head.split("  ")[0] == "run"
    assert none.endswith("stopped   0         –")
    assert new.startswith(str(tmp_path / "new"))
    assert "2026-02-01 10:20  finished" in new
    assert old.endswith("steered 50 [5,95] · no steer 100 [21,100]")


def test_a_runs_tables_are_those_of_its_end(tmp_path: Path) -> None:
    failing = RunStatus("Twin · main x", "level", 5, ["1 left out"], {"e": "no \x1b reply"})
    made(tmp_path, *TWIN, standing=failing)
    shown = lines(runs_table(jobs(tmp_path)))
    assert shown[0] == "Twin · main x"
    assert next(row.split()[:3] for row in shown if row.startswith("easy")) == ["easy", "2", "50"]
    assert shown[-3:] == ["  1 left out", "failed: e: no \\x1b reply", "1 failed, 4 of 5 episodes"]


def test_the_jobs_of_a_sweep_are_one_table_of_what_they_differ_in(tmp_path: Path) -> None:
    for length in (0.4, 0.2):
        for points in ([0.0], [0.0, 0.2]):
            decides = changed(scenario__length=length, scenario__points=points)
            made(tmp_path / f"r-{length}-{len(points)}", *TWIN, decides=decides)
    title, head, *rows = lines(runs_table(jobs(tmp_path)))
    assert title == "Recoverability · Distractor: % solved [95 % interval]"
    assert head.startswith("length  points  n  steered    no steer")
    assert [row.split()[-1] for row in rows] == ["1", "2", "1", "2"]
    assert [tuple(cell.strip() for cell in row.split("  ") if cell)[:4] for row in rows] == [
        ("0.2", "0", "2", "50 [5,95]"),
        ("0.2", "0 0.2", "2", "50 [5,95]"),
        ("0.4", "0", "2", "50 [5,95]"),
        ("0.4", "0 0.2", "2", "50 [5,95]"),
    ]


def test_a_setting_that_shares_its_name_is_called_by_all_of_it(tmp_path: Path) -> None:
    made(tmp_path / "a", decides=changed(team__main__top_p=1.0, team__guide__top_p=1.0))
    made(tmp_path / "b", decides=changed(team__main__top_p=0.9))
    _, head, *_ = lines(runs_table(jobs(tmp_path)))
    assert "team.main.top_p" in head
    assert "team.guide.top_p" in head


def test_a_model_is_named_by_its_seat_and_what_follows_from_it_has_no_column(
    tmp_path: Path,
) -> None:
    for name, model, heat in (("a", "x", 0.6), ("b", "y", 0.6), ("c", "y", 1.0)):
        given = {"id": model, "checkpoint": f"{model}@1", "temperature": heat}
        made(tmp_path / name, *TWIN, decides=changed(team__main=given))
    _, head, *rows = lines(runs_table(jobs(tmp_path)))
    assert head.split()[:3] == ["main", "temperature", "n"]
    assert [row.split()[:2] for row in rows] == [["x", "0.6"], ["y", "0.6"], ["y", "1"]]


def test_hashes_of_files_are_no_settings(tmp_path: Path) -> None:
    made(tmp_path / "a", *TWIN)
    made(tmp_path / "b", *TWIN, decides=changed(models__main__identity="plain@2", asked="x"))
    _, head, *rows = lines(runs_table(jobs(tmp_path)))
    assert (head.split()[0], head.split()[-1]) == ("n", "run")
    assert len(rows) == 2


def test_jobs_of_other_scenarios_have_tables_of_their_own(tmp_path: Path) -> None:
    made(tmp_path / "a", *TWIN)
    alone = changed(scenario={"_target_": "collab.scenarios.solo.SoloScenario"})
    made(tmp_path / "b", solved("a", True), decides=alone)
    made(tmp_path / "c", solved("a", True), decides=alone, standing=RunStatus("t", "level", 9))
    shown = lines(runs_table(jobs(tmp_path)))
    assert shown[0].startswith("Recoverability · Distractor: ")
    at = shown.index("Solo · Distractor: % solved [95 % interval]")
    assert shown[at + 1].split()[:2] == ["state", "n"]
    assert [row.split()[0] for row in shown[at + 2 :]] == ["finished", "stopped"]


def test_a_run_that_never_began_says_so(tmp_path: Path) -> None:
    made(tmp_path)
    os.unlink(tmp_path / "standing.json")
    with pytest.raises(RunError, match="was stopped before it began"):
        runs_table(jobs(tmp_path))


DAMAGE = {
    "manifest.json": ("[]", "manifest.json"),
    "scores.jsonl": ('{"case": 3}\n', "scores.jsonl', line 1: damaged"),
    "questions.jsonl": ("{}\n", "questions.jsonl', line 1: damaged"),
    "ratings.jsonl": ("?\n", "ratings.jsonl', line 1: damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_costs_one_line_and_never_the_others(tmp_path: Path, name: str) -> None:
    made(tmp_path / "good", *TWIN)
    made(tmp_path / "other", *TWIN, decides=changed(scenario__length=0.5))
    made(tmp_path / "bad", *TWIN)
    content, says = DAMAGE[name]
    (tmp_path / "bad" / name).write_text(content)
    sound, (said,) = survey(tmp_path)
    assert [job.folder.path.name for job in sound] == ["good", "other"]
    assert said.startswith("left out: ")
    assert f"{tmp_path}/bad/{says}" in said
    assert len(lines(runs_table(sound))) == 4
    with pytest.raises(RunError, match="bad"):
        jobs(tmp_path)


@pytest.mark.parametrize(
    "labels",
    [{"arm": "steer", "at": float("nan")}, {"arm": "steer", "steer_tokens": float("inf")}],
)
def test_numbers_that_are_none_break_no_table(tmp_path: Path, labels: dict[str, Any]) -> None:
    made(tmp_path / "good", *TWIN)
    made(
        tmp_path / "odd",
        Score("a", "q", "wrong", *Design.split({"pair": "1", **labels})),
        *TWIN[1:],
    )
    sound, said = survey(tmp_path)
    assert len(sound) + len(said) == 2
    assert lines(listing(sound))
