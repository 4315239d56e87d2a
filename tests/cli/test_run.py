import json
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from collab.runs.run_folder import RunFolder
from collab.serving import serve

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
DONE = re.compile(r"^done: (\d+) episodes, (\d+) generations sampled, (\d+) from the store, (.+)$")
ALONE = ("scenario=solo", "policy=solo", "scenario.samples=2", "questions.count=1", "budget=100")


def done(out: str) -> tuple[int, int, int, str]:
    found = DONE.match(out.splitlines()[-1])
    assert found, out
    return int(found[1]), int(found[2]), int(found[3]), found[4]


def test_the_last_line_says_what_was_done_and_where(finished: Any) -> None:
    assert finished.said.status == 0, finished.said.err
    episodes, sampled, stored, path = done(finished.said.out)
    assert episodes == len(RunFolder(finished.folder).scores()) > 0
    assert sampled == 6 + episodes - stored
    assert path == str(finished.folder)
    assert finished.folder.name.startswith("recoverability-distractor-")


def test_the_tables_stand_above_it(finished: Any) -> None:
    assert "Recoverability · main pocket/plain" in finished.said.out
    assert "paired difference" in finished.said.out
    assert re.search(r"^all +\d+ ", finished.said.out, re.MULTILINE)
    assert "steered episodes: tokens of the steer" in finished.said.out
    assert "endpoints checked: main real" in finished.said.out


def test_a_second_run_samples_nothing_and_prints_the_same_tables(
    finished: Any, command: Command
) -> None:
    again = command("run", *finished.words)
    assert again.status == 0
    episodes, sampled, _, path = done(again.out)
    assert (episodes, sampled, path) == (*done(finished.said.out)[:1], 0, str(finished.folder))
    assert _tables(again.out) == _tables(finished.said.out)


def test_a_run_can_say_first_how_long_it_takes(finished: Any, command: Command) -> None:
    new = command("run", *finished.words, "name=timed", "replicate=7", "estimate=30")
    time, _, rest = new.out.partition("\n")
    assert re.match(r"time: (at most )?about \d+:\d\d:\d\d, at [\d,]+ tokens/s", time)
    assert "time:" not in rest
    again = command("run", *finished.words, "name=timed", "replicate=7")
    assert "time:" not in again.out
    assert ", 0 generations sampled," in again.out


def test_the_same_settings_under_another_name_reuse_every_generation(
    finished: Any, command: Command
) -> None:
    again = command("run", *finished.words, "name=other")
    assert done(again.out)[1] == 0
    assert _tables(again.out) == _tables(finished.said.out)


def _tables(out: str) -> list[str]:
    lines = out.splitlines()
    first = next(n for n, line in enumerate(lines) if "Recoverability ·" in line)
    last = next(n for n, line in enumerate(lines) if line.startswith("see it: "))
    return [line for line in lines[first:last] if " has sampled: " not in line]


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense=1"],
        ["policy=nonsense"],
        ["policy.main=nobody"],
        ["scenario.points=[1.7]"],
        ["policy._target_=collab.core.boundary.End"],
        ["model@team.main=recording"],
        ["scenario=guidability"],
        ["questions=jsonl", "questions.path=nowhere.jsonl"],
        ["model@team.main=vllm", "team.main.id=nowhere"],
        ["-cd", "nowhere"],
        ["-cd"],
    ],
)
def test_a_bad_setting_is_one_line_and_leaves_nothing_behind(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("run", *words)
    assert said.status == 1
    assert said.error
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def refused(command: Command, tmp_path: Path, *words: str) -> str:
    """Run where no server is of use, and return the error."""
    said = command("run", *ALONE, *words, f"runs={tmp_path / 'runs'}")
    assert said.status == 1
    assert said.out == ""
    assert list(tmp_path.glob("runs/run/*/episodes.jsonl")) == []
    return str(said.error)


def test_a_dead_server_is_one_line(command: Command, scripted: Scripted, tmp_path: Path) -> None:
    with scripted() as bench, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        words = [*bench.words, f"team.main.base_url=http://127.0.0.1:{port}/v1"]
        said = refused(command, tmp_path, *words)
    assert f"cannot reach http://127.0.0.1:{port}/v1" in said
    assert "connection refused" in said


def test_a_server_that_answers_html_is_one_line(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await HTMLResponse("<html>\x1b[31mWelcome</html>")(scope, receive, send)

    with scripted() as bench, serve(page) as url:
        said = refused(command, tmp_path, *bench.words, f"team.main.base_url={url}")
    assert "a reply that is not JSON of the API" in said
    assert "<html>" in said
    assert "\x1b" not in said
    (log,) = tmp_path.glob("runs/*/*/run.log")
    assert "\\x1b[31mWelcome" in log.read_text()
    assert "\x1b" not in log.read_text()


def test_a_server_that_answers_html_to_the_first_prompt_is_one_line(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted(failures=["html"]) as bench:
        assert "a reply that is not JSON of the API" in refused(command, tmp_path, *bench.words)


def test_a_model_that_is_not_served_is_one_line_that_lists_what_is(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted() as bench:
        said = refused(command, tmp_path, *bench.words, "team.main.served=other")
        assert bench.server.generating == []
    assert "does not serve 'other' (it serves: 'scripted')" in said


def test_a_server_of_ones_own_is_run_against(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm.</think>\\boxed{4}") as bench:
        words = [*ALONE, *bench.words, f"runs={tmp_path / 'runs'}", "name=mine"]
        said = command("run", *words)
    assert said.status == 0, said.err
    assert done(said.out)[:3] == (2, 2, 2)
    assert "/runs/mine/solo-solo-" in said.out.splitlines()[-1]


def test_a_sweep_goes_on_after_a_failed_job_and_fails(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm.</think>\\boxed{4}") as bench:
        words = [*ALONE, *bench.words, f"runs={tmp_path / 'runs'}"]
        said = command("run", "-m", *words, "team.main.served=other,scripted")
    assert said.status == 1
    assert "does not serve 'other'" in said.err
    assert "Traceback" not in said.err
    (line,) = [line for line in said.out.splitlines() if line.startswith("done: ")]
    assert line.startswith("done: 2 episodes")
    assert "run 1 of 2: team.main.served=other\n" in said.out


def test_a_changed_server_address_enters_the_same_folder_and_sends_nothing(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    words = [*ALONE, f"runs={tmp_path / 'runs'}"]
    with scripted("Hm.</think>\\boxed{4}") as bench:
        first = command("run", *words, *bench.words)
        with serve(bench.server) as url:
            again = command("run", *words, *bench.words, f"team.main.base_url={url}")
    assert done(again.out)[3] == done(first.out)[3]
    assert done(again.out)[1] == 0


def test_help_says_how_to_run(command: Command) -> None:
    said = command("run", "--help")
    assert said.status == 0
    assert said.out.startswith("usage: collab run")


def test_a_cap_ends_a_run_and_a_higher_one_lets_it_go_on(command: Command, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    words = ["scenario=solo", "policy=solo", "team=solo", "questions.count=4", "budget=90"]
    words += ["questions.levels=[easy]", f"runs={runs}", "name=capped", "concurrency=1"]
    priced = ["+team.main.prices.completion=2.0", "team.main.parameters=0.0005"]
    stopped = command("run", *words, *priced, "caps.tokens=60")
    assert stopped.status == 1
    assert "caps.tokens=60 is reached" in stopped.error
    (spent,) = runs.glob("capped/*/spent.json")
    first = json.loads(spent.read_text())["main"]
    assert first["completion"] >= 60
    assert first["money"] == pytest.approx(first["completion"] * 2e-6)
    again = command("run", *words, *priced, "caps.money=1")
    assert (again.status, again.err) == (0, "")
    whole = json.loads(spent.read_text())["main"]
    assert f"main has sampled: {whole['draws']} draws, {whole['prompt']:,} tokens" in again.out
    assert "FLOPs" in again.out
    rows = (spent.parent / "episodes.jsonl").read_text().splitlines()
    costs = [json.loads(row)["costs"]["main"] for row in rows]
    assert sum(map(len, costs)) == whole["draws"] > first["draws"]
    assert sum(one["completion"] for each in costs for one in each.values()) == whole["completion"]
