from collab.core.trajectory import (
    Chose,
    Edited,
    Event,
    Forked,
    PlayedBranch,
    Rewound,
    Seams,
    Stopped,
    Trajectory,
    Unit,
    Wrote,
)
from collab.episode.engine import Episode
from collab.errors import RunError
from collab.report.episode_json import episode_json, prompts


def wrote(text: str, author: str = "main") -> Wrote:
    return Wrote(Unit(author, text, "generated", tokens=10, seams=Seams(1000)))


def blocks(*log: Event) -> list[tuple[str, str, str | None]]:
    """Say of each block what it is, its text and why it was struck."""
    made = episode_json(Episode("c", Trajectory.replay(log), "answered"))
    return [(one["is"], one.get("text", ""), one.get("struck")) for one in made["blocks"]]


def test_a_struck_unit_stays_where_it_stood_with_the_reason() -> None:
    assert blocks(wrote("a"), wrote("b"), Edited(0, None, "wrong")) == [
        ("unit", "a", "wrong"),
        ("unit", "b", None),
        ("struck", "unit 0 struck", None),
    ]


def test_a_changed_unit_stands_behind_what_it_replaces() -> None:
    assert blocks(wrote("a"), wrote("b"), Edited(0, "A", "typo")) == [
        ("unit", "a", "typo"),
        ("unit", "A", None),
        ("unit", "b", None),
    ]


def test_a_rewind_strikes_the_living_units_behind_it_alone() -> None:
    log = wrote("a"), wrote("b"), Edited(1, None, "bad"), wrote("c"), Rewound(1, "again")
    assert [struck for kind, _, struck in blocks(*log) if kind == "unit"] == [None, "bad", "again"]


def test_a_chosen_branch_strikes_what_it_took_the_place_of() -> None:
    branch = PlayedBranch((Rewound(1, "afresh"), wrote("B")), "stopped")
    log = wrote("a"), wrote("b"), Forked((branch,)), Chose(0, "better"), Edited(1, None, "no")
    episode = episode_json(Episode("c", Trajectory.replay(log), "answered"))
    a, b, fork, *_ = episode["blocks"]
    assert ("struck" in a, b["struck"]) == (False, "replaced by branch 1")
    assert [one.get("text") for one in fork["branches"][0]["blocks"]] == ["back to unit 1", "B"]


def test_a_unit_says_what_it_costs_at_most() -> None:
    prices = {"main": {"prompt": 1.0, "completion": 20.0}}
    log = (wrote("a"), wrote("b", "free"), Stopped("enough"))
    episode = episode_json(Episode("c", Trajectory.replay(log), "stopped"), prices)
    assert [one.get("money") for one in episode["blocks"]] == [0.0012, None, None]


def test_a_prompt_is_told_as_what_is_new_since_the_seat_was_last_sent_one() -> None:
    def reads(question: str, unit: Unit, before: Trajectory) -> str:
        if unit.text == "lost":
            raise RunError("the template is another one")
        return f"{question} as {unit.author}: {before.thinking}"

    def read(author: str, text: str) -> Wrote:
        return Wrote(Unit(author, text, "generated", seams=Seams(9)))

    branch = PlayedBranch((read("a", "four"), read("a", "five")), "stopped")
    log: list[Event] = [read("a", "one "), read("b", "two "), Rewound(1, "no")]
    log += [read("a", "three "), Forked((branch,)), read("a", "lost"), read("b", "six")]
    made = episode_json(Episode("c", Trajectory.replay(log), "stopped"), None, reads, "q")["blocks"]
    assert [one["prompt"] for one in made if "prompt" in one] == [
        [0, "q as a: "],
        [0, "q as b: one "],
        [8, "one "],
        [12, "three lost"],
    ]
    assert list(prompts(made)) == [
        "q as a: ",
        "q as b: one ",
        "q as a: one ",
        "q as a: one three ",
        "q as a: one three four",
        "q as b: one three lost",
    ]
    assert [one["unsure"] for one in made if "unsure" in one] == ["the template is another one"]
