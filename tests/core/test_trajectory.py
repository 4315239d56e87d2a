import itertools
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from collab.core.trajectory import (
    Asked,
    Chose,
    Closed,
    Edited,
    Ended,
    Event,
    Finish,
    Forked,
    Json,
    PlayedBranch,
    Rewound,
    Scored,
    Seams,
    Span,
    Stopped,
    Trajectory,
    Unit,
    Wrote,
)
from collab.errors import PolicyError

LOG: TypeAdapter[list[Event]] = TypeAdapter(list[Event])
TEXTS = st.text(max_size=12)
MEMOS: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
COUNTS = st.integers(0, 9)
SEATS = st.sampled_from(["main", "guide", "drafter"])
UNITS = st.builds(
    Unit,
    author=SEATS,
    text=TEXTS,
    kind=st.sampled_from(["generated", "recorded", "inserted", "signal"]),
    why=TEXTS,
    phase=st.just("thinking"),
    ids=st.none() | st.lists(st.integers(0, 2**17), max_size=4).map(tuple),
    tokenizer=st.none() | st.just("0123456789ab"),
    tokens=st.integers(0, 9),
    generations=st.lists(TEXTS, max_size=2).map(tuple),
    top20_entropy=st.none() | st.floats(0, 3),
    seams=st.none() | st.builds(Seams, COUNTS, COUNTS, COUNTS, st.none() | COUNTS),
)


INDICES = st.integers(0, 8)
KEYS = st.lists(TEXTS, max_size=2).map(tuple)
CHANCES = st.dictionaries(TEXTS, st.floats(0, 1), max_size=3)
FINISHES: st.SearchStrategy[Finish] = st.sampled_from(["answered", "stopped", "never closed"])
PLAIN: st.SearchStrategy[Event] = st.one_of(
    st.builds(Wrote, UNITS, MEMOS),
    st.builds(Wrote, UNITS.map(lambda unit: replace(unit, phase="answer"))),
    st.builds(Ended, SEATS),
    st.builds(Edited, INDICES, st.none() | TEXTS, TEXTS, MEMOS, COUNTS, st.none() | SEATS),
    st.builds(Rewound, INDICES, TEXTS, MEMOS),
    st.builds(Asked, SEATS, TEXTS, TEXTS, KEYS, st.integers(0, 9), CHANCES),
    st.builds(Scored, SEATS, TEXTS, st.floats(-9, 0), st.integers(0, 9), KEYS),
    st.builds(Closed, SEATS, TEXTS, MEMOS),
    st.builds(Stopped, TEXTS, MEMOS),
)


def fork(memo: Json, *branches: tuple[list[Event], Finish, bool]) -> Event:
    """A fork whose branches grow from nothing, and so from anywhere."""
    logs = [
        PlayedBranch(reduce(grow, events, Trajectory()).log, finish, empty)
        for events, finish, empty in branches
    ]
    return Forked(tuple(logs), "apart", memo)


def grow(trajectory: Trajectory, event: Event) -> Trajectory:
    """Add an event, its index moved to a unit that is there."""
    count = len(trajectory.units)
    match event:
        case Chose() if not trajectory.branches:
            return trajectory
        case Chose(branch):
            event = replace(event, branch=branch % len(trajectory.branches))
        case Rewound(to):
            event = replace(event, to=to % (count + 1))
        case Edited() if not count:
            return trajectory
        case Edited(index):
            event = replace(event, unit=index % count)
    return trajectory.add(event)


BRANCHES = st.tuples(st.lists(PLAIN, max_size=4), FINISHES, st.booleans())
EVENTS: st.SearchStrategy[Event] = st.one_of(
    PLAIN,
    st.builds(fork, MEMOS, BRANCHES),
    st.builds(fork, MEMOS, BRANCHES, BRANCHES),
    st.builds(Chose, st.integers(0, 1), TEXTS, MEMOS),
)
TRAJECTORIES = st.lists(EVENTS, max_size=8).map(lambda events: reduce(grow, events, Trajectory()))


@given(trajectory=TRAJECTORIES, event=EVENTS)
def test_an_event_is_appended_and_what_was_there_stays(
    trajectory: Trajectory, event: Event
) -> None:
    before = Trajectory.replay(trajectory.log)
    after = grow(trajectory, event)
    assert after.log[: len(before.log)] == trajectory.log
    assert len(after.log) == len(before.log) + 1 or isinstance(event, Edited | Chose)
    assert trajectory == before


@given(trajectory=TRAJECTORIES)
def test_a_log_that_went_through_json_leaves_the_same_trajectory(trajectory: Trajectory) -> None:
    written = LOG.dump_json(list(trajectory.log))
    assert LOG.validate_json(written) == list(trajectory.log)
    assert Trajectory.replay(LOG.validate_json(written)) == trajectory
    plain = LOG.dump_python(list(trajectory.log), mode="json")
    assert Trajectory.replay(LOG.validate_python(plain)) == trajectory


@given(trajectory=TRAJECTORIES, index=INDICES)
def test_a_rewind_keeps_the_units_before_it_and_the_whole_log(
    trajectory: Trajectory, index: int
) -> None:
    to = min(index, len(trajectory.units))
    rewound = trajectory.add(Rewound(to))
    assert rewound.units == trajectory.units[:to]
    assert rewound.reply == trajectory.reply
    assert rewound.log[:-1] == trajectory.log
    assert list(rewound.generated) == list(trajectory.generated)


@given(trajectory=TRAJECTORIES)
def test_spans_lie_end_to_end_over_the_living_thinking(trajectory: Trajectory) -> None:
    spans, text = trajectory.spans, trajectory.thinking
    assert [span.start for span in spans] == [0, *(span.end for span in spans)][: len(spans)]
    assert (spans[-1].end if spans else 0) == len(text)
    assert all(one.author != two.author for one, two in itertools.pairwise(spans))
    for span in spans:
        mine = {index for index in range(span.start, span.end)}
        at = 0
        for unit in trajectory.units:
            if mine & set(range(at, at + len(unit.text))):
                assert unit.author == span.author
            at += len(unit.text)


def test_an_edited_unit_loses_the_ids_that_no_longer_spell_it() -> None:
    unit = Unit("main", "five", "generated", ids=(5,), tokenizer="t", tokens=1)
    edited = Trajectory().add(Wrote(unit)).add(Edited(0, "six", tokens=2)).units[0]
    assert edited.tokens == 2
    assert (edited.text, edited.author, edited.kind) == ("six", "main", "inserted")
    assert (edited.ids, edited.tokenizer) == (None, None)


def test_an_edited_unit_is_by_who_edited_it_and_keeps_its_history() -> None:
    first = Unit("main", "five", "generated", ids=(5,), tokenizer="t", tokens=1)
    log: list[Event] = [
        Wrote(first),
        Edited(0, "six", seat="overseer", tokens=2),
        Edited(0, "7", "again"),
    ]
    twice = Trajectory.replay(log)
    (unit,) = twice.units
    assert (unit.author, unit.text, unit.why) == ("overseer", "7", "again")
    assert [(one.author, one.text, one.ids) for one in unit.history] == [
        ("main", "five", (5,)),
        ("overseer", "six", None),
    ]
    assert Trajectory.replay(log[:2]).tokens == 2
    assert list(twice.generated) == [first]


def test_an_edited_signal_stays_one() -> None:
    log: list[Event] = [Wrote(Unit("main", "<call>", "signal")), Edited(0, "<call>9")]
    assert Trajectory.replay(log).units[0].kind == "signal"


def test_branches_start_from_the_thinking_so_far_or_from_nothing() -> None:
    ours, theirs = _unit("main", "We "), _unit("guide", "add.")
    answer = Unit("guide", "4", "generated", phase="answer")
    here = PlayedBranch((theirs, Ended("guide"), Closed("guide"), Wrote(answer)), "answered")
    alone = PlayedBranch((theirs,), "stopped", empty=True)
    back = PlayedBranch((Rewound(0), theirs), "stopped")
    log: list[Event] = [ours, Forked((here, alone, back))]
    forked = Trajectory.replay(log)
    assert forked.thinking == "We "
    assert [one.trajectory.thinking for one in forked.branches] == ["We add.", "add.", "add."]
    assert [one.thinking for one in forked.branches] == ["add.", "add.", "add."]
    assert [one.answer for one in forked.branches] == ["4", "", ""]
    assert [unit.author for unit in forked.generated] == [
        "main",
        "guide",
        "guide",
        "guide",
        "guide",
    ]
    chosen = forked.add(Chose(0))
    assert (chosen.thinking, chosen.answer, chosen.closed_by) == ("We add.", "4", "guide")
    assert forked.add(Chose(1)).thinking == "add."


def test_a_struck_unit_leaves_the_text_but_not_the_log() -> None:
    units = [Unit("main", text, "generated", tokens=1) for text in ("a", "b", "c")]
    struck = Trajectory.replay([*map(Wrote, units), Edited(1, None)])
    assert struck.thinking == "ac"
    assert struck.tokens == 2
    assert [unit.text for unit in struck.generated] == ["a", "b", "c"]


def test_prompts_add_up_and_what_is_not_known_of_one_is_not_known_of_both() -> None:
    known, unknown = Seams(9, 1, 4, 2), Seams(0, changed=None)
    assert known + known == Seams(18, 2, 8, 4)
    assert known + unknown == unknown + known == Seams(9, 1, 4, None)
    read = [Unit("main", "a", "generated", seams=known), Unit("main", "b", "generated")]
    assert Trajectory.replay(list(map(Wrote, read))).seams == known
    assert Trajectory().seams is None


@pytest.mark.parametrize("event", [Edited(1, "x"), Edited(-1, None), Rewound(2), Rewound(-1)])
def test_what_does_not_fit_is_refused_with_what_is_allowed(event: Event) -> None:
    trajectory = Trajectory().add(Wrote(Unit("main", "a", "generated")))
    with pytest.raises(PolicyError, match="allowed are 0 to"):
        trajectory.add(event)


def _unit(author: str, text: str) -> Wrote:
    return Wrote(Unit(author, text, "generated"))


@pytest.mark.parametrize(
    ("events", "closed_by"),
    [
        ([], None),
        ([_unit("main", "a")], None),
        ([_unit("main", "a"), Ended("main")], "main"),
        ([_unit("main", "a"), Ended("main"), Asked("guide", "?", "!")], "main"),
        ([_unit("main", "a"), Ended("main"), _unit("guide", "b")], None),
        ([_unit("main", "a"), Ended("main"), Rewound(0)], None),
        ([_unit("main", "a"), Ended("main"), Rewound(1)], "main"),
        ([_unit("main", "a"), Ended("main"), _unit("guide", "b"), Rewound(1)], "main"),
        ([_unit("main", "a"), _unit("main", "b"), Ended("main"), Edited(0, "c")], "main"),
        ([_unit("main", "a"), _unit("main", "b"), Ended("main"), Edited(0, None)], "main"),
        ([_unit("main", "a"), _unit("main", "b"), Ended("main"), Edited(1, "c")], None),
    ],
)
def test_closed_by_names_the_seat_whose_last_living_unit_ended_in_its_own_tag(
    events: list[Event], closed_by: str | None
) -> None:
    assert Trajectory.replay(events).closed_by == closed_by


def test_answer_units_stand_in_the_answer_alone() -> None:
    answer = Unit("main", "4", "generated", phase="answer", tokens=1)
    trajectory = Trajectory.replay([_unit("main", "a"), Closed("main", "enough"), Wrote(answer)])
    assert (trajectory.thinking, trajectory.answer) == ("a", "4")
    assert trajectory.closed == Closed("main", "enough")


def test_neighbouring_units_of_one_author_are_one_span() -> None:
    written = [("main", "We "), ("main", "add."), ("guide", " So"), ("main", " it is.")]
    trajectory = Trajectory.replay([_unit(author, text) for author, text in written])
    assert trajectory.spans == (Span("main", 0, 7), Span("guide", 7, 10), Span("main", 10, 17))
