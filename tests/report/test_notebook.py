import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import collab
from collab import Run
from collab.core.design import Design
from collab.core.trajectory import (
    Edited,
    Forked,
    Message,
    PlayedBranch,
    Question,
    Trajectory,
    Unit,
    Wrote,
)
from collab.episode.engine import Case, Episode
from collab.errors import ConfigError, RunError
from collab.policies.solo import Solo
from collab.report.notebook import html
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e=1+1\ud800"


def wrote(author: str, text: str) -> Wrote:
    return Wrote(Unit(author, text, "generated", f"{author} <may>", tokens=3))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    question = Question("q", (Message("user", "3 + 4?"),), "7")
    fork = Forked((PlayedBranch((wrote("helper", "or <so>"),), "stopped"),), "unsure")
    log = (wrote("main", "One."), wrote("guide", HOSTILE), Edited(0, None, "it is <wrong>"), fork)
    path = tmp_path_factory.mktemp("notebook") / "run"
    with RunFolder.enter(path, {}, {}) as folder:
        folder.ask([question])
        for name, at in (("q/1", 0.2), ("q/2", None)):
            score = Score(name, "q", "correct", Design(at=at), extracted="=7", tokens=3)
            episode = Episode(name, Trajectory.replay(log), "answered")
            folder.add(episode, Case(name, question, Solo()), score)
    return Run.open(path)


def test_a_run_opens_as_tidy_frames(run: Run) -> None:
    pytest.importorskip("polars")
    episodes, units = run.episodes(), run.units()
    assert type(episodes).__module__.startswith("polars")
    assert episodes["case"].to_list() == ["q/1", "q/2"]
    assert episodes["correct"].to_list() == [True, True]
    assert episodes["label_at"].to_list() == [0.2, None]
    assert episodes["extracted"].to_list() == ["=7", "=7"]
    assert units.columns[:4] == ["case", "number", "phase", "author"]
    assert "<script>" in units["text"][0]
    assert run.costs().is_empty()


def test_pandas_is_taken_where_it_is_asked_for(run: Run) -> None:
    pytest.importorskip("pandas")
    episodes = run.episodes("pandas")
    assert list(episodes["case"]) == ["q/1", "q/2"]
    assert list(episodes["label_at"].isna()) == [False, True]


def test_where_no_library_is_installed_the_extra_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("polars", "pandas"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("collab.report.notebook.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[notebook\]'"):
        run.episodes()
    with pytest.raises(ConfigError, match="frames need pandas"):
        run.episodes("pandas")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        Run.open(tmp_path)


def test_a_trajectory_shows_itself_on_a_terminal(run: Run) -> None:
    console = Console(record=True, width=80, file=None, quiet=False)
    with console.capture() as said:
        console.print(run.trajectory("q/1"))
    assert "One. [struck: it is <wrong>]" in said.get()
    assert "\x1b[31m\u202e" not in said.get()


def test_a_trajectory_shows_itself_in_a_notebook_as_text_alone(run: Run) -> None:
    shown = run.trajectory("q/1")._repr_html_()
    assert shown is not None
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\\u202e=1+1\\ud800" in shown
    assert "text-decoration:line-through" in shown
    assert "struck: it is &lt;wrong&gt;" in shown
    assert "or &lt;so&gt;" in shown
    assert shown == html(run.trajectory("q/1"))


def test_what_the_package_has_not_is_no_attribute_of_it() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Walk'"):
        getattr(collab, "Walk")  # noqa: B009 - what is tested


@pytest.mark.parametrize(("show", "kind"), [("_repr_html_", "str"), ("__rich__", "Group")])
def test_a_trajectory_that_was_made_by_hand_shows_itself_in_colour(show: str, kind: str) -> None:
    code = f"from collab import Trajectory\nprint(type(Trajectory().{show}()).__name__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == kind


def test_a_trajectory_without_reports_is_plain_text() -> None:
    code = (
        "import sys\n"
        "from collab.core.trajectory import Trajectory\n"
        "print(Trajectory()._repr_html_(), repr(Trajectory().__rich__().plain))\n"
        "print([name for name in sys.modules if name.startswith('collab.report')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "None ''\n[]\n"
