import pytest
from pydantic import ValidationError

from collab.core.sampling import OpenTurn
from collab.core.trajectory import Message, Trajectory, Unit, Wrote
from collab.endpoints.dialects import Dialect, Frame, IdsDialect
from collab.endpoints.placement import InTags, InThink, InUserTurn, PlacedDialect
from collab.endpoints.profile import Profile
from collab.endpoints.registry import choose
from collab.endpoints.tokens import Tokenizer
from collab.templates.template import Template

ASKED = (Message("system", "S"), Message("user", "Q"))
FRAME = Frame(
    Template("{{ messages[-1].content }}|{% if add_generation_prompt %}<think>\n{% endif %}")
)
OURS = Trajectory.replay(
    [
        Wrote(Unit("main", "Mine. ", "recorded")),
        Wrote(Unit("guide", "Wait. ", "inserted")),
        Wrote(Unit("guide", "Yours.", "recorded")),
        Wrote(Unit("main", " So.", "generated")),
        Wrote(Unit("critic", " No?", "generated")),
    ]
)
Anywhere = InThink | InTags | InUserTurn
PLACEMENTS: list[Anywhere] = [InThink(), InTags(kind="tags"), InUserTurn(kind="user")]


def placed(placement: Anywhere, inner: Dialect | None = None) -> PlacedDialect:
    text = choose(Profile(dialect="text"), FRAME, None, "<think>\n", "</think>")
    return PlacedDialect(inner or text, placement)


def read(placement: Anywhere, seat: str) -> str:
    return str(placed(placement).prompt(ASKED, OURS, "thinking", seat).prompt)


def test_in_the_think_block_others_text_stands_as_ones_own() -> None:
    for seat in ("main", "guide"):
        assert read(InThink(), seat) == "Q|<think>\nMine. Wait. Yours. So. No?"


def test_in_tags_each_run_of_another_author_is_marked_for_whoever_did_not_write_it() -> None:
    tags = InTags(kind="tags", open="<{author}>", close="</{author}>")
    assert read(tags, "main") == (
        "Q|<think>\nMine. <guide>Wait. Yours.</guide> So.<critic> No?</critic>"
    )
    assert read(tags, "guide") == (
        "Q|<think>\n<main>Mine. </main>Wait. Yours.<main> So.</main><critic> No?</critic>"
    )


def test_in_the_users_turn_the_block_holds_ones_own_text_alone() -> None:
    turn = InUserTurn(kind="user", heading="\n{author}: ")
    assert read(turn, "main") == "Q\nguide: Wait. Yours.\ncritic:  No?|<think>\nMine.  So."
    assert read(turn, "critic") == (
        "Q\nmain: Mine. \nguide: Wait. Yours.\nmain:  So.|<think>\n No?"
    )


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_who_writes_alone_reads_the_same_wherever_others_text_would_go(
    placement: Anywhere,
) -> None:
    alone = Trajectory.replay([Wrote(Unit("main", "Mine.", "generated"))])
    prompt = placed(placement).prompt(ASKED, alone, "answer", "main").prompt
    assert prompt == "Q|<think>\nMine.</think>"


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_ones_own_ids_go_in_as_they_are(placement: Anywhere, letters: Tokenizer) -> None:
    odd = (letters.encode("a")[0],) * 3
    log = Trajectory.replay(
        [
            Wrote(Unit("guide", "Hint.", "inserted")),
            Wrote(Unit("main", "?", "generated", ids=odd, tokenizer=letters.fingerprint)),
        ]
    )
    prompt = (
        placed(placement, IdsDialect(FRAME, letters)).prompt(ASKED, log, "thinking", "main").prompt
    )
    assert isinstance(prompt, tuple)
    assert prompt[-3:] == odd


def test_the_signal_of_another_is_placed_nowhere() -> None:
    log = Trajectory.replay([Wrote(Unit("guide", "<help>", "signal"))])
    for placement in PLACEMENTS:
        assert placed(placement).prompt(ASKED, log, "thinking", "main").prompt == "Q|<think>\n"


def test_a_chat_is_told_the_notes_in_its_users_turn() -> None:
    inner = choose(Profile(dialect="deepseek_prefix"), None, None, "<think>\n", "</think>")
    prompt = placed(InUserTurn(kind="user"), inner).prompt(ASKED, OURS, "thinking", "main").prompt
    assert isinstance(prompt, OpenTurn)
    assert prompt.thought == "Mine.  So."
    begin = "Q\n\nNotes of somebody else on this:\nWait. Yours."
    assert prompt.messages[-1].content.startswith(begin)


def test_a_tag_that_ends_in_a_space_is_refused() -> None:
    with pytest.raises(ValidationError, match="ends in a space"):
        InTags(kind="tags", open="<note> ")


async def test_a_placed_dialect_is_the_dialect_in_all_else(letters: Tokenizer) -> None:
    inner = IdsDialect(FRAME, letters)
    outer = placed(InTags(kind="tags"), inner)
    assert (outer.name, outer.form, outer.continues) == (inner.name, inner.form, True)
    assert outer.close_ids == inner.close_ids
