import re
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench


def rows(store: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(store)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master")]
        return [
            (name, *row)
            for name in tables
            if not name.startswith(("sqlite_", "ix_"))
            for row in database.execute(f'select * from "{name}"')
        ]


def prompts(out: str) -> list[str]:
    """Return what follows each rule in the output."""
    return re.split(r"^.* ─+$", out, flags=re.MULTILINE)[1:]


def test_a_plan_of_a_new_run_counts_the_draws_to_send_and_sends_nothing(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm.</think>4") as bench:
        words = [*bench.words, "questions.count=5", f"runs={tmp_path / 'runs'}"]
        said = command("plan", *words)
        assert bench.server.requests == []
    assert (said.status, said.err) == (0, "")
    assert "solo draws of main: 0 stored, 40 to send" in said.out
    assert "episodes: at most 600" in said.out
    assert len(prompts(said.out)) == 3
    assert all("<|assistant|>\n<think>\n" in prompt for prompt in prompts(said.out))
    assert not (tmp_path / "runs" / "run").exists()


def test_a_plan_of_a_finished_run_owes_nothing_and_leaves_the_store_as_it_is(
    command: Command, finished: Any
) -> None:
    store = finished.runs / "store.sqlite"
    before = rows(store)
    said = command("plan", *finished.words)
    assert (said.status, said.err) == (0, "")
    assert "solo draws of main: 6 stored, 0 to send" in said.out
    assert re.search(r"^episodes: (\d+) \(\1 stored, 0 to play\)$", said.out, re.MULTILINE)
    assert "tokens to sample: about 0 " in said.out
    assert rows(store) == before
    assert len(prompts(said.out)) == 3


def test_a_plan_of_a_grown_run_counts_what_is_stored(command: Command, finished: Any) -> None:
    before = rows(finished.runs / "store.sqlite")
    said = command("plan", *finished.words, "questions.count=4")
    assert "solo draws of main: 6 stored, 2 to send" in said.out
    more = command("plan", *finished.words, "policy.phrase='Hm, hm.\n'")
    assert re.search(r"^episodes: \d+ \([1-9]\d* stored, [1-9]\d* to play\)$", more.out, re.M)
    assert rows(finished.runs / "store.sqlite") == before


def test_a_plan_says_what_priced_models_cost_at_most_or_as_stored_episodes_do(
    command: Command, finished: Any
) -> None:
    priced = ["+team.main.prices.prompt=100", "+team.main.prices.completion=1000"]
    new = command("plan", *finished.words, "replicate=7", *priced).out
    (most,) = re.findall(r"^tokens to sample: at most ([\d,]+) \(200 a trajectory\)$", new, re.M)
    money = int(most.replace(",", "")) / 1000
    assert (
        f"money: at most ${money:,.4g} for what is written, were it all by main; besides, " in new
    )
    more = command("plan", *finished.words, "policy.phrase='Hm, hm.\n'", *priced).out
    assert re.search(
        r"^money: about \$[\d.]+ \(\$0\.\d+ an episode, from what is stored\)$", more, re.M
    )
    assert "money" not in command("plan", *finished.words).out


def test_a_planned_prompt_holds_the_kept_opening_and_the_steer(
    command: Command, finished: Any
) -> None:
    out = command("plan", *finished.words, "scenario.controls=[]", "scenario.points=[0.4]").out
    assert all("Wait. Let me think.\n" in prompt for prompt in prompts(out))


def test_a_bad_setting_is_one_line(command: Command, tmp_path: Path) -> None:
    for words in (["nonsense=1"], ["scenario.points=[1.7]"], ["questions=jsonl"], ["-cd", "no"]):
        assert command("plan", *words, f"runs={tmp_path / 'runs'}").error
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_has_a_row_for_each_run_and_counts_shared_draws_once(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm.</think>4") as bench:
        words = [*bench.words, "questions.count=5", f"runs={tmp_path / 'runs'}"]
        words += ["team.main.revision=9f3c2a1", "scenario.points=[0.2],[0.4],[0.6]"]
        said = command("plan", "-m", *words)
        assert bench.server.requests == []
    assert (said.status, said.err) == (0, "")
    head, *rows, solos, episodes = said.out.splitlines()
    assert head.split("  ")[0] == "run"
    assert [row.split()[:2] for row in rows] == [
        [f"scenario.points=[{at}]", "40"] for at in ("0.2", "0.4", "0.6")
    ]
    assert solos == "3 runs: 40 solo draws to send (80 more are shared: each is sent once)"
    assert re.match(r"episodes: at most [\d,]+; tokens: at most [\d,]+$", episodes)


def test_an_experiment_that_sweeps_is_planned_as_its_sweep(command: Command) -> None:
    said = command("plan", "experiment=demo", "questions.count=1")
    assert sum("model@team.main=pocket_plain" in line for line in said.out.splitlines()) == 2
    assert "6 runs: 64 solo draws to send" in said.out


def test_a_probe_samples_draws_of_the_run_and_estimates_its_time(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm.</think>4") as bench:
        words = [*bench.words, "questions.count=5", "budget=200", f"runs={tmp_path / 'runs'}"]
        said = command("plan", "--probe", *words)
    assert "solo draws of main: 40 stored, 0 to send" in said.out
    assert re.search(
        r"^time: about 0:\d\d:\d\d, at .* \(measured on 40 solo draws in ", said.out, re.M
    )
    assert not (tmp_path / "runs" / "run").exists()


def test_draws_that_no_other_run_can_use_are_named_before_they_are_sampled(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted("Hm.</think>4") as bench:
        words = [*bench.words, "questions.count=1", f"runs={tmp_path / 'runs'}"]
        said = command("plan", *words)
        fixed = command("plan", *words, "team.main.revision=9f3c2a1")
    assert "draws of main stay with one run: nothing says which weights 'scripted' is" in said.out
    assert "stay with one run" not in fixed.out
