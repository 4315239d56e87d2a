from collections.abc import Callable, Mapping

import pytest
from pydantic import ValidationError

from collab import Close, Decision, Insert, Length, Share, Tokens, View, Write
from collab.policies.distractor import Distractor

Look = Callable[..., View]
BOTH = {"main": 100, "distractor": 80}


async def script(
    policy: Distractor, look: Look, recordings: Mapping[str, int], own: str = "Add."
) -> list[Decision]:
    """Play the decisions up to the first one that hands `main` the pen for good."""
    decisions: list[Decision] = []
    written: list[tuple[str, str]] = []
    while not decisions or decisions[-1] != Write("main", why="main continues"):
        view = look(*written, step=len(decisions), recordings=recordings)
        decision = await policy.decide(view)
        decisions.append(decision)
        match decision:
            case Insert(seat, text):
                written.append((seat, text))
            case Write(seat):
                written.append((seat, own))
    return decisions[:-1]


async def test_the_steer_stands_behind_the_phrase_and_that_behind_the_opening(look: Look) -> None:
    opening, phrase, steer = await script(Distractor(at=0.4, length=0.3), look, BOTH)
    assert isinstance(opening, Write)
    assert (opening.seat, opening.until) == ("main", Share(of=0.4))
    assert isinstance(phrase, Insert)
    assert (phrase.seat, phrase.text) == ("distractor", "\nWait. Let me think.\n")
    assert isinstance(steer, Write)
    assert (steer.seat, steer.until) == ("distractor", Share(of=0.3))


async def test_at_0_there_is_no_opening_and_no_line_break_before_the_phrase(look: Look) -> None:
    phrase, steer = await script(Distractor(at=0), look, BOTH)
    assert isinstance(phrase, Insert)
    assert phrase.text == "Wait. Let me think.\n"
    assert isinstance(steer, Write)
    assert steer.seat == "distractor"


async def test_an_opening_that_ends_its_line_gets_no_blank_line(look: Look) -> None:
    _, phrase, _ = await script(Distractor(at=0.2), look, BOTH, own="Add.\n")
    assert isinstance(phrase, Insert)
    assert phrase.text == "Wait. Let me think.\n"


async def test_the_control_without_a_steer_inserts_nothing(look: Look) -> None:
    (opening,) = await script(Distractor(at=0.4), look, {"main": 100})
    assert isinstance(opening, Write)
    assert opening.seat == "main"
    assert await script(Distractor(at=0), look, {"main": 100}) == []


async def test_an_empty_phrase_is_not_inserted(look: Look) -> None:
    decisions = await script(Distractor(at=0.2, phrase=""), look, BOTH, own="Add.\n")
    assert [type(decision) for decision in decisions] == [Write, Write]


async def test_a_number_of_tokens_overrides_the_share(look: Look) -> None:
    *_, steer = await script(Distractor(at=0, steer_tokens=30), look, BOTH)
    assert isinstance(steer, Write)
    assert steer.until == Length(tokens=30)


async def test_main_answers_when_the_thinking_is_closed(look: Look) -> None:
    decision = await Distractor().decide(look(("main", "x"), step=1, closed=True, recordings=BOTH))
    assert decision == Close("main", why="main closed its thinking")


@pytest.mark.parametrize(
    "settings",
    [
        {"phrase": "Wait. "},
        {"at": 1.7},
        {"at": -0.1},
        {"length": 0},
        {"steer_tokens": -1},
        {"times": 0},
    ],
)
def test_settings_that_make_no_steer_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Distractor.model_validate(settings)


async def test_no_tokens_of_the_steer_are_the_phrase_alone(look: Look) -> None:
    _, phrase = await script(Distractor(at=0.2, steer_tokens=0), look, BOTH)
    assert isinstance(phrase, Insert)
    assert phrase.text == "\nWait. Let me think.\n"


async def test_each_injection_is_the_next_part_and_main_goes_on_between(look: Look) -> None:
    policy = Distractor(length=0.25, times=3, between=Tokens(count=9))
    decisions = await script(policy, look, BOTH)
    assert [d.until for d in decisions if isinstance(d, Write)] == [
        Share(of=0.25),
        Tokens(count=9),
        Share(of=0.5),
        Tokens(count=9),
        Share(of=0.75),
    ]
    seats = [d.seat for d in decisions if isinstance(d, Write | Insert)]
    assert seats == ["distractor"] * 2 + ["main", "distractor", "distractor"] * 2


async def test_once_its_trace_is_played_out_the_distractor_is_silent(look: Look) -> None:
    policy = Distractor(length=0.5, times=3)
    out = look(("distractor", "So."), step=2, recordings=BOTH, exhausted=frozenset({"distractor"}))
    assert await policy.decide(out) == Write("main", why="main continues")


def test_a_steer_that_turns_right_is_injected_once() -> None:
    with pytest.raises(ValidationError, match="a corrected steer is injected once"):
        Distractor(times=2, corrector="guide")


async def test_a_steer_that_turns_right_goes_on_with_the_correctors_recording(look: Look) -> None:
    policy = Distractor(corrector="guide", length=0.4, cut="chunk")
    *_, last = await script(policy, look, {**BOTH, "guide": 50})
    assert isinstance(last, Write)
    assert (last.seat, last.until) == ("guide", Share(of=0.4, by="chunk"))
    assert len(await script(policy, look, BOTH)) == 2
