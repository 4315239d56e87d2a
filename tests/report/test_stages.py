import re
from io import StringIO

from rich.console import Console

from collab.report.stages import StageBars


def paceless(text: str) -> list[str]:
    return [re.sub(r"[\d.,]+/s", "R/s", line) for line in text.splitlines()]


def test_elsewhere_than_on_a_terminal_a_stage_ends_in_one_plain_line() -> None:
    out = StringIO()
    bars = StageBars(Console(file=out))
    bars.expect("solo draws of main", 3)
    bars.expect("episodes", 1, more=True)
    for _ in range(3):
        bars.step("solo draws of main")
    bars.step("episodes")
    bars.expect("episodes", 0)
    assert paceless(out.getvalue()) == ["solo draws of main: 3/3 (R/s)", "episodes: 1/1"]


def test_a_stage_of_no_steps_says_nothing_elsewhere() -> None:
    out = StringIO()
    StageBars(Console(file=out)).expect("episodes", 0)
    assert out.getvalue() == ""


def test_steps_of_an_earlier_start_are_named_and_make_no_pace() -> None:
    out = StringIO()
    bars = StageBars(Console(file=out))
    bars.expect("episodes", 2)
    bars.step("episodes", stored=True)
    bars.step("episodes", stored=True)
    assert out.getvalue() == "episodes: 2/2 (2 from before)\n"


def test_on_a_terminal_each_stage_is_a_bar_with_its_count() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    bars = StageBars(console)
    bars.expect("solo draws of main", 2)
    bars.expect("episodes", 3, more=True)
    bars.expect("answers", 3)
    bars.step("solo draws of main")
    bars.step("solo draws of main")
    for _ in range(2):
        bars.step("episodes")
        bars.step("answers")
    assert out.getvalue() == ""
    console.print(bars)
    solo, episodes, answers = re.sub(r"\x1b\[[\d;?]*\w", "", out.getvalue()).splitlines()
    assert re.search(r"solo draws of main .* 2/2 ", solo)
    assert re.search(r"episodes .* 2/3\+ .*/s +$", episodes), "no time left of an open total"
    assert re.search(r"answers .* 2/3 .*/s, 0:00:00 left", answers)
