import unicodedata
from dataclasses import replace
from io import StringIO
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from collab.core.trajectory import (
    Asked,
    Edited,
    Ended,
    Event,
    Forked,
    Message,
    PlayedBranch,
    Rewound,
    Seams,
    Trajectory,
    Unit,
    Wrote,
)
from collab.report.trajectory import GrowingTrajectory, asked, colours, render_trajectory, safe


def text(*events: Event, terminal: bool = False) -> str:
    out = StringIO()
    palette: Literal["standard"] | None = "standard" if terminal else None
    console = Console(file=out, width=100, force_terminal=terminal, color_system=palette)
    console.print(render_trajectory(Trajectory.replay(events)))
    return out.getvalue()


def wrote(author: str, text: str, why: str = "", tokens: int = 1) -> Wrote:
    return Wrote(Unit(author, text, "generated", why, tokens=tokens))


def test_authors_have_a_colour_each_in_order_of_appearance() -> None:
    log = [wrote("b", "x"), wrote("a", "y"), wrote("b", "z")]
    assert colours(Trajectory.replay(log)) == {"b": "cyan", "a": "magenta"}
    assert "\x1b[36m" in text(*log, terminal=True)
    assert "\x1b[35m" in text(*log, terminal=True)


def test_a_heading_with_the_reason_stands_at_each_hand_off() -> None:
    out = text(
        wrote("a", "One.\n", "a begins"),
        wrote("a", "Two.\n", "a goes on"),
        wrote("b", "Three.\n", "b may", tokens=5),
    )
    headings = [line for line in out.splitlines() if "─" in line]
    assert len(headings) == 2
    assert headings[0].startswith("a · thinking · generated · 1 tokens · a begins ─")
    assert headings[1].startswith("b · thinking · generated · 5 tokens · b may ─")
    assert [line for line in out.splitlines() if "─" not in line] == ["One.", "Two.", "Three."]


def test_a_heading_says_how_much_of_what_was_read_was_encoded_anew() -> None:
    read = Unit("a", "One.", "generated", tokens=1, seams=Seams(40, 1, 9, 2))
    clean = replace(read, author="b", seams=Seams(41, 2, 10, 0))
    alone = replace(read, author="c", seams=Seams(40))
    headings = [
        line for line in text(*map(Wrote, (read, clean, alone))).splitlines() if "─" in line
    ]
    assert "1 tokens · read 40 (9 encoded anew, 2 seam tokens differ) ─" in headings[0]
    assert "1 tokens · read 41 (10 encoded anew) ─" in headings[1]
    assert "1 tokens ─" in headings[2]


def test_what_was_struck_stays_with_a_remark() -> None:
    out = text(
        wrote("a", "One.\n"),
        Edited(0, None, "wrong"),
        wrote("a", "Two.\n"),
        Edited(0, "Zwei.", "German"),
        Rewound(0, "again"),
        Ended("a"),
    )
    assert [line for line in out.splitlines() if "─" not in line] == [
        "One. [struck: wrong]",
        "unit 0 struck: wrong",
        "Two. [struck: German]",
        "Zwei. [struck: again]",
        "back to unit 0: again",
        "a ended its thinking",
    ]
    struck = text(wrote("a", "One.\n"), Edited(0, None, "wrong"), terminal=True)
    assert "\x1b[2;9;36mOne.\x1b[0m" in struck


def test_branches_stand_beneath_their_fork() -> None:
    fork = Forked((PlayedBranch((wrote("b", "Or so."),), "stopped"),), "unsure")
    assert [line for line in text(wrote("a", "One."), fork).splitlines() if "─" not in line] == [
        "One.",
        "1 branches from here: unsure",
        "branch 1: stopped",
        "    Or so.".ljust(100),
    ]


def test_a_side_question_of_several_lines_stands_as_it_was_put() -> None:
    assert text(Asked("judge", "Sure?", "Yes.")) == "judge was asked 'Sure?' and replied 'Yes.'\n"
    told = text(Asked("judge", "A: Or so.\nB: \x1b[2J\n", "A"))
    assert [line.rstrip() for line in told.splitlines()] == [
        "judge was asked:",
        "    A: Or so.",
        "    B: \\x1b[2J",
        "judge said:",
        "    A",
    ]


def test_of_what_grows_the_end_is_seen_and_no_more_than_a_screen() -> None:
    out = StringIO()
    console = Console(file=out, width=40, height=8)
    log = [wrote("a", f"unit {n}\n") for n in range(50)]
    console.print(
        GrowingTrajectory(Trajectory.replay(log), "it \x1b[2J writes " * 9, above="case c")
    )
    lines = out.getvalue().splitlines()
    assert len(lines) == 7
    assert lines[0] == "case c"
    assert lines[1] == "unit 49"
    assert "\x1b" not in out.getvalue()


def test_what_grows_at_great_length_takes_no_longer_than_its_end() -> None:
    out = StringIO()
    long = Trajectory.replay([wrote("a", "so " * 400_000)])
    Console(file=out, width=40, height=8).print(GrowingTrajectory(long))
    assert len(out.getvalue()) < 1000


@given(st.text(alphabet=st.characters()))
def test_no_control_or_format_character_is_left(hostile: str) -> None:
    left = safe(hostile)
    assert all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") for c in left)
    assert left.count("\n") == hostile.count("\n")


@given(st.text(alphabet="aä漢 .\n[]\\"))
def test_plain_text_is_left_alone(plain: str) -> None:
    assert safe(plain) == plain


def test_hostile_units_reasons_and_names_stand_as_text() -> None:
    out = text(wrote("\x1b[2J", "\u202e[red]evil[/]\x07\n", "\x9b31m"))
    assert not set("\x1b\u202e\x07\x9b") & set(out)
    assert "\\u202e[red]evil[/]\\x07" in out


def test_a_stored_question_is_shown_turn_by_turn() -> None:
    out = StringIO()
    messages = (Message("system", "Hm."), Message("user", "\x1b[b]?"))
    Console(file=out).print(asked(messages))
    assert out.getvalue() == "system: Hm.\nuser: \\x1b[b]?\n"
