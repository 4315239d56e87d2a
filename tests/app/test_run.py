"""Runs from Python are those of the shell: the same folder, resumed, with the same results."""

import asyncio
import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import collab
from collab import Policy, Run
from collab.app.overrides import override_words, parsed
from collab.app.plan import DrawCounts
from collab.app.sweep import sweep_jobs
from collab.cli import main
from collab.errors import CollabError, ConfigError, SweepError
from collab.policies.distractor import Distractor
from collab.policies.self_handoff import SelfHandoff
from collab.policies.solo import Solo

pytestmark = pytest.mark.usefixtures("launched")
SOLO = ("scenario=solo", "policy=solo", "team=solo", "scenario.samples=2", "budget=90")
ASKED = {"levels": ["easy"], "count": 2}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder of one's own, without progress on the screen of the tests."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(*words: str) -> str:
    """Run the command in this process and return what it prints."""
    out = StringIO()
    with redirect_stdout(out), redirect_stderr(StringIO()):
        assert main(words) == 0
    return out.getvalue()


def folders(here: Path) -> list[Path]:
    return sorted(path.parent.relative_to(here) for path in here.rglob("manifest.json"))


def solo(*more: str, **settings: Any) -> Run:
    return collab.run(*SOLO, *more, questions=ASKED, progress=False, **settings)


def test_a_run_lies_where_the_shell_puts_it_and_either_continues_the_other(here: Path) -> None:
    words = [*SOLO, "questions.levels=[easy]", "questions.count=2"]
    first = solo()
    out = shell("run", *words)
    assert folders(here) == [first.path]
    assert out.splitlines()[-1].startswith("done: 4 episodes, 0 generations sampled")
    again = solo()
    assert (again.path, again.scores) == (first.path, first.scores)
    starts = json.loads((first.path / "manifest.json").read_text())["starts"]
    calls = [start["command"] for start in starts]
    assert calls[0] == calls[2]
    assert calls[0].startswith("collab.run('scenario=solo', ")
    assert calls[1].startswith("collab run scenario=solo ")


def test_a_run_counts_the_answers_that_were_not_judged(here: Path) -> None:
    first = solo()
    assert not any("not judged" in note for note in first.notes)
    scores = first.path / "scores.jsonl"
    row, *others = map(json.loads, scores.read_text().splitlines())
    row |= {"verdict": "not judged", "details": {"not judged": {"base": "it is an object"}}}
    scores.write_text("".join(json.dumps(one) + "\n" for one in [row, *others]))
    assert "1 of 4 answers was not judged: it is an object (1)" in solo().notes


async def test_a_run_is_a_value_with_tables_frames_and_trajectories(here: Path) -> None:
    run = await collab.arun(*SOLO, questions=ASKED, progress=False)
    assert run.state == "finished"
    assert len(run.scores) == 4
    assert run.failures == {}
    assert "endpoints checked: main real" in run.notes
    assert run.headline["n"] == "4"
    assert len(run.tables) == 1
    assert {case for case, _ in run.trajectories()} == {score.case for score in run.scores}
    assert f"{run.path}" in repr(run)
    assert "Solo · main pocket/plain" in str(run)
    assert str(collab.load(run.path)) == str(run)
    pytest.importorskip("polars")
    assert run.episodes().height == 4


async def test_a_run_plays_where_a_loop_runs_already(here: Path) -> None:
    assert solo().state == "finished"


def test_progress_is_on_stderr_unless_it_is_turned_off(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solo()
    assert capsys.readouterr() == ("", "")
    collab.run(*SOLO, questions=ASKED)
    out, err = capsys.readouterr()
    assert out == ""
    assert "episodes: 4/4" in err


def test_an_error_is_the_line_of_the_shell(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"^policy\.nonsense: there is no such setting"):
        solo("+policy.nonsense=1")
    with pytest.raises(ConfigError, match="there is no policy 'nonsense'"):
        solo(policy="nonsense")
    with pytest.raises(CollabError, match=r"nowhere\.jsonl"):
        collab.run(*SOLO, "questions=jsonl", "questions.path=nowhere.jsonl")
    with pytest.raises(ConfigError, match=r"collab\.sweep"):
        solo("replicate=0,1")
    with pytest.raises(ConfigError, match=r"collab\.sweep"):
        collab.run("experiment=demo")
    with pytest.raises(ConfigError, match="7 is not text"):
        collab.run(7)  # type: ignore[arg-type]
    assert folders(here) == []


class Named(Solo):
    """A policy of the user's own, with a setting."""

    name: str = ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Named(name="a"), Named(name="a"), True),
        (Named(name="a"), Named(name="b"), False),
        (Named(name="a"), Solo(), False),
    ],
)
def test_the_settings_of_a_policy_value_decide_the_folder(
    here: Path, one: Policy, other: Policy, same: bool
) -> None:
    words = ("scenario=collaboration", "team=solo", "~scenario.against", "scenario.alone=null")
    said: dict[str, Any] = {"budget": 60, "questions": {**ASKED, "count": 1}, "progress": False}
    first, second = (collab.run(*words, policy=policy, **said) for policy in (one, other))
    assert (first.path == second.path) is same
    config = json.loads((first.path / "manifest.json").read_text())["config"]
    assert config["policy"]["_target_"].endswith(".Named")
    assert config["policy"]["name"] == "a"


def test_a_shipped_policy_as_a_value_lies_where_its_name_puts_it(here: Path) -> None:
    by_value, by_name = solo(policy=Solo()), solo()
    assert by_value.path == by_name.path


class Stateful(Solo):
    """A policy with a setting that no file can hold."""

    of: object = None


def test_a_policy_whose_settings_have_no_json_form_is_refused_by_name(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.of=.* has no JSON form"):
        solo(policy=Stateful(of=object()))


def test_settings_by_keyword_reach_the_config_as_they_are(here: Path) -> None:
    planned = collab.plan(
        "twin=recoverability",
        questions={"count": 1, "levels": ["easy"]},
        policy=Distractor(phrase="Hm.\n"),
        caps={"money": None, "tokens": 7},
        strict_prefill=True,
        runs=here / "some runs",
    )
    assert planned.solos == {"main": DrawCounts(stored=0, owed=8)}
    assert not folders(here)


@pytest.mark.parametrize(
    "value",
    ["solo", "null", "it's \\ {x: 1}", "1", "", "[a]", None, True, 0.5, [1, "a b"], ["a", None]],
)
def test_a_value_by_keyword_reads_as_itself(value: object) -> None:
    (word,) = parsed(override_words([], {"key": value}))
    assert word.value() == value


def test_a_plan_has_its_counts_as_fields_and_reads_as_text(here: Path) -> None:
    before = asyncio.run(collab.aplan(*SOLO, questions=ASKED))
    assert (before.most_episodes, before.episodes) == (4, None)
    solo()
    plan = collab.plan(*SOLO, questions=ASKED)
    assert plan.episodes is not None
    assert (plan.episodes.stored, plan.episodes.owed, plan.tokens) == (4, 0, 0)
    assert "episodes: 4 (4 stored, 0 to play)" in repr(plan).splitlines()
    assert len(plan.prompts) == 3
    assert shell("plan", *SOLO, "questions.levels=[easy]", "questions.count=2").startswith(
        str(plan).partition("\n  ")[0]
    )


def test_a_sweep_plays_the_jobs_of_the_shell_in_its_order_and_continues(here: Path) -> None:
    words = [*SOLO, "replicate=0,1", "scenario.samples=1,2"]
    runs = collab.sweep(*words, questions=ASKED, progress=False)
    assert [len(run.scores) for run in runs] == [2, 2, 4, 4]
    out = shell("run", "-m", *words, "questions.levels=[easy]", "questions.count=2")
    done = [line for line in out.splitlines() if line.startswith("done: ")]
    assert [line.rpartition(", ")[2] for line in done] == [str(run.path) for run in runs]
    assert all(" 0 generations sampled" in line for line in done)
    again = collab.sweep(*words, questions=ASKED, progress=False)
    assert [run.path for run in again] == [run.path for run in runs]


async def test_a_sweep_plays_the_other_runs_and_then_says_which_failed(here: Path) -> None:
    with pytest.raises(SweepError, match=r"^1 of 2 runs could not be played: .*nonsense") as told:
        await collab.asweep(*SOLO, "policy=solo,nonsense", questions=ASKED, progress=False)
    assert [run.state for run in told.value.runs] == ["finished"]
    assert [words.split()[1] for words in told.value.failures] == ["policy=nonsense"]


def test_the_values_that_an_experiments_file_sweeps_over_are_swept_over() -> None:
    jobs = sweep_jobs(["experiment=demo", "replicate=3"])
    assert len(jobs) == 6
    assert {job[0] for job in jobs} == {"twin=recoverability_small", "twin=guidability"}
    assert all("replicate=3" in job for job in jobs)


def test_a_launcher_is_refused_with_what_to_do(here: Path) -> None:
    with pytest.raises(ConfigError, match="a launcher needs the shell: collab run -m"):
        collab.sweep("hydra/launcher=processes", *SOLO)


def test_a_policy_in_a_folder_of_ones_own_is_found(here: Path) -> None:
    (here / "mine" / "policy").mkdir(parents=True)
    (here / "mine" / "own_pythonic.py").write_text(
        "from collab.policies.solo import Solo\n\n\nclass OwnPythonic(Solo):\n    pass\n"
    )
    (here / "mine" / "policy" / "own_pythonic.yaml").write_text(
        "_target_: own_pythonic.OwnPythonic\nmain: main\n"
    )
    played = collab.play(
        config_dirs=[here / "mine"], policy="own_pythonic", question="3 + 4?", progress=False
    )
    assert played.case == "play/3 + 4?"


async def test_a_question_is_played_in_the_running_loop(here: Path) -> None:
    played = await collab.aplay(policy=SelfHandoff(), question="3 + 4?", budget=60, progress=False)
    assert len(played.trajectory.units) > 1
