import re
from io import StringIO

from rich.console import Console

from collab.report.live import Live


def test_elsewhere_than_on_a_terminal_a_stage_ends_in_one_plain_line() -> None:
    out = StringIO()
    with Live(Console(file=out)) as live:
        live.begin("solo draws of main", 3)
        for _ in range(3):
            live.step()
        live.begin("episodes", 1)
        live.step()
    lines = out.getvalue().splitlines()
    assert [re.sub(r"[\d.,]+/s", "R/s", line) for line in lines] == [
        "solo draws of main: 3/3 (R/s)",
        "episodes: 1/1 (R/s)",
    ]


def test_a_stage_of_no_steps_says_nothing_elsewhere() -> None:
    out = StringIO()
    with Live(Console(file=out)) as live:
        live.begin("episodes", 0)
    assert out.getvalue() == ""


def test_on_a_terminal_each_stage_is_a_bar_with_its_count() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with Live(console) as live:
        live.begin("solo draws of main", 2)
        live.step()
        live.step()
        live.begin("episodes", 4)
        live.step()
    last = re.sub(r"\x1b\[[\d;?]*\w", "", out.getvalue()).splitlines()[-2:]
    assert re.search(r"solo draws of main .* 2/2 ", last[0])
    assert re.search(r"episodes .* 1/4 ", last[1])
