"""What the tests of the page share: a run whose text is hostile, and one real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from collab.core.design import Design
from collab.core.trajectory import (
    Asked,
    Closed,
    Edited,
    Ended,
    Event,
    Forked,
    Message,
    PlayedBranch,
    Question,
    Seams,
    Trajectory,
    Unit,
    Wrote,
)
from collab.episode.engine import Case, Episode
from collab.policies.solo import Solo
from collab.runs.run_folder import RunFolder, RunStatus
from collab.scenarios.base import Score, Verdict
from tests import optional

HOSTILE = (
    "<script>document.title='pwned'</script></script><img src=x onerror=\"document.title='pwned'\">"
    "\x1b[31mred\x1b[0m \u202eright to left\u202c Z\u0351\u036b\u0343algo <b>bold</b>"
)
LONG = "a very long thought " * 52_000
DECIDES: dict[str, Any] = {  # any: JSON
    "scenario": {"_target_": "collab.scenarios.recoverability.Recoverability"},
    "policy": {"_target_": "collab.policies.distractor.Distractor"},
    "team": {
        "main": {"id": "Qwen/Qwen3-1.7B", "prices": {"prompt": 1.0, "completion": 2.0}},
        "distractor": {"kind": "recording"},
    },
    "budget": 600,
}


def wrote(author: str, text: str, phase: Any = "thinking", kind: Any = "generated") -> Wrote:
    return Wrote(Unit(author, text, kind, f"{author} goes on", phase, tokens=9, seams=Seams(100)))


def log_of(pair: int, arm: str) -> list[Event]:
    """Make what happened in one episode; the first is hostile, the second has all there is."""
    said: list[Event] = [wrote("main", f"Start with {pair}. ", kind="recorded")]
    if arm == "steer":
        said.append(wrote("distractor", "Ducks have 3 legs. ", kind="inserted"))
    if (pair, arm) == (0, "steer"):
        said += [wrote("main", HOSTILE), wrote("main", LONG)]
    if (pair, arm) == (1, "steer"):
        said.append(wrote("main", "This is a slip. "))
        said.append(Edited(2, None, why="it slipped"))
        said.append(Asked("main", "sure?", "quite sure"))
        said.append(
            Forked((PlayedBranch((wrote("main", "another way"),), "stopped"),), why="unsure")
        )
    closed: list[Event] = [Ended("main"), Closed("main", "done"), wrote("main", "7.", "answer")]
    return [*said, *closed]


def verdict_of(pair: int, arm: str) -> Verdict:
    return "wrong" if arm == "steer" and pair % 2 == 0 else "correct"


def make_run(path: Path, pairs: int) -> RunFolder:
    """Write a run's folder: so many pairs of a steered case and its control."""
    questions = [
        Question(f"q{n}", (Message("user", f"What is {n} + 7? {HOSTILE}"),), str(n + 7))
        for n in range(pairs)
    ]
    with RunFolder.enter(path, DECIDES, {}) as folder:
        folder.write_status(RunStatus("Recoverability · main x", "at", 2 * pairs, ["a note"]))
        folder.ask(questions)
        for pair, question in enumerate(questions):
            for arm in ("steer", "none"):
                design = Design(at=0.2 * (pair % 5), pair=f"q{pair}", arm=arm)
                case = Case(f"q{pair}/{arm}", question, Solo(), design=design)
                trajectory = Trajectory.replay(log_of(pair, arm))
                verdict = verdict_of(pair, arm)
                score = Score(case.id, question.id, verdict, design, extracted=HOSTILE, tokens=9)
                folder.add(Episode(case.id, trajectory, "answered"), case, score)
    return folder


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of sixty cases, some of which hold what no page should act on."""
    return make_run(tmp_path_factory.mktemp("seen") / "runs" / "hostile" / "a-b-1", pairs=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window; skipped where Debian's package is not installed.

    As long as it is there, an event loop runs in this thread: other modules' tests need their own.
    """
    found = optional.found("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return how to open a page; at the end it must have had no error and asked nobody else."""
    complaints: list[str] = []
    contexts = []

    def open_page(url: str, **context: Any) -> Page:  # any: what Playwright takes
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        origin = url.split("#")[0].rpartition("/")[0]
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((origin, "blob:")) else complaints.append(asked.url)
            ),
        )
        page.goto(url)
        page.wait_for_selector("[data-ready=yes]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
