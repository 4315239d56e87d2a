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
