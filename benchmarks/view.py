"""Measure the speed of `collab view` with a run of 20,000 episodes, in a real browser.

    python benchmarks/view.py [--episodes 20000]

Writes such a run, serves it with `collab view`, and opens it in headless Chromium. Measures the
time from the request of the page to the first episodes in its list (for a new server, and once
more), and the time from the choice of a filter to the filtered list. `plain_read_s` is the time in
which the machine reads the run's scores as plain JSON, for comparison.

Also measures the live view of a driver at full load: the share of its CPU time that the live view
takes, drawn on a terminal, while another process watches one episode. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, expect, sync_playwright
from rich.console import Console
from rich.live import Live as Screen

from collab.core.boundary import Tokens
from collab.core.design import Design
from collab.core.sampling import Sampling
from collab.core.trajectory import Closed, Ended, Event, Message, Question, Trajectory, Unit, Wrote
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.limits import Limits
from collab.episode.engine import Case, Episode, play_case
from collab.episode.team import Team
from collab.pocket.server import find
from collab.policies.solo import Solo
from collab.reasoners.model import Model
from collab.report.live import RunProgress
from collab.runs.live_view import LiveView, LiveViewer
from collab.runs.run import Played, each
from collab.runs.run_folder import RunFolder, RunStatus
from collab.scenarios.base import Score, Verdict
from collab.store.store import Store
from collab.templates.template import Template

POINTS = (0.0, 0.2, 0.4, 0.6, 0.8)
ARMS = ("steer", "none")
ROUNDS = 5
WATCHED = 400
"""Episodes of the driver with a live view."""
DECIDES = {
    "scenario": {"_target_": "collab.scenarios.recoverability.Recoverability"},
    "policy": {"_target_": "collab.policies.distractor.Distractor"},
    "team": {"main": {"id": "bench"}, "distractor": {"kind": "recording"}},
    "budget": 4096,
}


def write_run(path: Path, episodes: int) -> None:
    """Write a run of a twin test: a steered case and its control for each question and point."""
    asked = episodes // (len(POINTS) * len(ARMS))
    questions = [
        Question(f"q{n}", (Message("user", f"What is {n} + 7 pens?"),), str(n + 7), labels={})
        for n in range(asked)
    ]
    with RunFolder.enter(path, DECIDES, {}) as folder:
        folder.write_status(RunStatus("Recoverability · main bench", "at", episodes))
        folder.ask(questions)
        for question, at, arm in product(questions, POINTS, ARMS):
            case = Case(f"{question.id}/{at:g}/{arm}", question, Solo())
            design = Design(arm=arm, at=at, pair=f"{question.id}/{at:g}")
            verdict: Verdict = "wrong" if hash_of(case.id) % 3 == 0 else "correct"
            labels = {"level": "all"}
            score = Score(case.id, question.id, verdict, design, labels, extracted="7", tokens=240)
            folder.add(Episode(case.id, Trajectory.replay(log(arm)), "answered"), case, score)


def hash_of(text: str) -> int:
    return sum(map(ord, text)) * 2654435761 % 2**32


def log(arm: str) -> list[Event]:
    thought = "So there are 12 pens, and 4 of them are red. " * 4
    units = [Wrote(Unit("main", thought, "generated", "it has the turn", tokens=40))] * 5
    steer = [Wrote(Unit("distractor", thought, "inserted", "the steer", tokens=40))]
    answer = Wrote(Unit("main", "7.", "generated", phase="answer", tokens=2))
    return [*(steer if arm == "steer" else []), *units, Ended("main"), Closed("main"), answer]


@contextmanager
def viewed(path: Path) -> Iterator[str]:
    """Start `collab view` and return its address."""
    command = [sys.executable, "-m", "collab", "view", str(path), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            found = re.match(r"http://\S+", server.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            server.terminate()


def paint(page: Page, url: str) -> float:
    """Return the seconds from the request of the page to the first episodes in its list."""
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#list li", timeout=120_000)
    return time.perf_counter() - start


def chosen(page: Page, value: str, episodes: int) -> float:
    """Return the milliseconds from a choice to the filtered list, measured inside the page."""
    taken: float = page.evaluate(
        """async ([value, wanted]) => {
          const pick = document.getElementById("pick-arm");
          const began = performance.now();
          pick.value = value;
          pick.dispatchEvent(new Event("change"));
          const count = document.getElementById("count");
          while (!count.textContent.startsWith(wanted))
            await new Promise((done) => requestAnimationFrame(done));
          return performance.now() - began;
        }""",
        [value, f"{episodes:,} of"],
    )
    return taken


def searched(page: Page, text: str) -> float:
    """Return the seconds that a full-text search takes."""
    start = time.perf_counter()
    page.fill("#text", text)
    expect(page.locator("#count")).to_contain_text(re.compile("^0 of"), timeout=120_000)
    taken = time.perf_counter() - start
    page.click("#clear")
    return taken


def plain_read(path: Path) -> float:
    """Return the seconds that the machine takes to read the scores as JSON."""
    start = time.perf_counter()
    with (path / "scores.jsonl").open("rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - start


class Timed(RunProgress):
    """A live view that measures its own CPU time (seconds)."""

    cost = 0.0

    def grew(self, case: Case, trajectory: Trajectory) -> None:
        """Show a running episode."""
        start = time.thread_time()
        super().grew(case, trajectory)
        self.cost += time.thread_time() - start

    def ended(self, case: Case, played: Played | None) -> None:
        """Show a finished episode."""
        start = time.thread_time()
        super().ended(case, played)
        self.cost += time.thread_time() - start

    def _look(self, screen: Screen | None) -> None:
        start = time.thread_time()
        super()._look(screen)
        self.cost += time.thread_time() - start

    def _count(self) -> None:
        start = time.thread_time()
        super()._count()
        self.cost += time.thread_time() - start


async def live_share(path: Path) -> float:
    """Return the live view's share of the driver's CPU time, at full load."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks import driver

    known, folder = driver.tokenizer(), find("plain")
    live = Timed(
        Console(file=StringIO(), force_terminal=True, width=120, height=40), LiveView(path)
    )
    with driver.server(0) as url:
        async with (
            Store.open(path / "store.sqlite") as store,
            Endpoint(url, "bench", known, limits=Limits()) as endpoint,
        ):
            dialect = IdsDialect(Frame(Template.load(folder)), known)
            model = Model("bench@1", endpoint, dialect, known, store, Sampling())
            team, question = Team({"main": model}), Question("q", (Message("user", "3 + 4?"),))

            async def one(case: Case) -> None:
                def watch(now: Trajectory, _: str) -> None:
                    live.grew(case, now)

                episode = await play_case(
                    case, team, until=Tokens(count=9), budget=10**6, watch=watch, whole=True
                )
                live.ended(case, (episode, Score(case.id, "q", "correct", tokens=960)))

            cases = [driver.opened(n, question, 300, driver.UNITS) for n in range(WATCHED)]
            await each(cases[:2], one, 2)
            live.cost, start = 0.0, time.process_time()
            async with live.watching(team):
                LiveViewer(path).look()
                await each(cases[2:], one, driver.CONCURRENCY)
            return live.cost / (time.process_time() - start)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--episodes", type=int, default=20_000)
    episodes = words.parse_args().episodes
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed (apt-get install chromium)")
    with TemporaryDirectory() as scratch:
        share = asyncio.run(live_share(Path(scratch)))  # before Playwright's own loop runs
    with TemporaryDirectory() as scratch, sync_playwright() as playwright:
        path = Path(scratch) / "runs" / "bench" / "recoverability-distractor-1"
        write_run(path, episodes)
        plain = plain_read(path)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        with viewed(path) as url:
            first = paint(page, url)
            again = paint(page, url)
            whole = re.compile(f"^{episodes:,} of")
            expect(page.locator("#count")).to_contain_text(whole, timeout=120_000)
            half = episodes // len(ARMS)
            times = [
                chosen(page, value, left)
                for _ in range(ROUNDS)
                for value, left in (("steer", half), ("", episodes))
            ]
            search = searched(page, "no such text")
        with viewed(path) as url:
            later = paint(page, url)
        browser.close()
    found = {
        "episodes": episodes,
        "first_paint_s": round(first, 2),
        "second_paint_s": round(again, 2),
        "reopened_paint_s": round(later, 2),
        "filter_ms": round(median(times), 1),
        "search_s": round(search, 2),
        "plain_read_s": round(plain, 2),
        "live_share": round(share, 4),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
