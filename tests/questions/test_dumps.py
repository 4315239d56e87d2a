"""What rows of others' files are taken for."""

from typing import Any

import pytest

from collab.questions.dumps import TraceFacts, fields_of, trace_facts, unrolled
from collab.questions.table import BadRow

TAGS = ("<think>", "</think>")
ASKED = {"question": "What is 1 + 2?", "answer": "3", "model": "m"}
TOLD = TraceFacts("What is 1 + 2?", "3", "m", "It is 3.", "Three.", closed=True)


def told(row: dict[str, Any], **given: str) -> list[TraceFacts]:
    """Read all traces of a row."""
    rows = list(unrolled(row, given.get("text")))
    fields = fields_of(rows[0], given)
    return [trace_facts(one, fields, TAGS, None) for one in rows]


@pytest.mark.parametrize(
    "row",
    [
        {**ASKED, "reasoning": "It is 3.", "response": "Three."},
        {**ASKED, "reasoning_content": "It is 3.", "content": "Three.", "finish_reason": "stop"},
        {**ASKED, "generation": "<think>\nIt is 3.</think>Three."},
        {**ASKED, "text": "It is 3.</think>Three."},
        {**ASKED, "choices": [{"index": 0, "text": "It is 3.</think>Three."}]},
        {**ASKED, "choices": [{"message": {"content": "<think>It is 3.</think>Three."}}]},
        {**ASKED, "choices": [{"message": {"reasoning": "It is 3.", "content": "Three."}}]},
        {**ASKED, "outputs": [{"text": "It is 3.</think>Three.", "finish_reason": "stop"}]},
        {**ASKED, "outputs": ["It is 3.</think>Three."]},
        {
            "answer": "3",
            "messages": [{"role": "user", "content": "What is 1 + 2?"}],
            "response": {
                "status_code": 200,
                "body": {"model": "m", "choices": [{"text": "It is 3.</think>Three."}]},
            },
        },
    ],
)
def test_a_row_of_any_of_these_forms_is_the_same_trace(row: dict[str, Any]) -> None:
    assert told(row) == [TOLD]


def test_a_list_of_texts_is_as_many_traces_with_what_belongs_to_each() -> None:
    row = {
        **ASKED,
        "generations": ["It is 3.</think>Three.", "It is 4.</think>Four.", "Hm"],
        "correct": [True, False, None],
        "finish_reasons": ["stop", "stop", "length"],
    }
    first, second, third = told(row)
    assert (first.claimed, second.claimed, third.claimed) == (True, False, None)
    assert (first.closed, second.closed, third.closed) == (True, True, False)
    assert (third.thinking, third.reply) == ("Hm", "")


def test_named_fields_may_lie_inside_others() -> None:
    row = {"q": ASKED["question"], "about": {"gold": 3, "by": "m", "t": 0.6}, "o": "Hm.</think>3"}
    (one,) = told(
        row,
        **{"question": "q", "text": "o", "temperature": "about.t"},
        **{"answer": "about.gold", "model": "about.by"},
    )
    assert (one.answer, one.model, one.sampling) == ("3", "m", {"temperature": 0.6})


@pytest.mark.parametrize("cut", [{"finish_reason": "length"}, {"finished": False}])
def test_what_was_cut_short_is_not_closed(cut: dict[str, Any]) -> None:
    (one,) = told({**ASKED, "reasoning": "It is 3.", "response": "Thr", **cut})
    assert not one.closed


@pytest.mark.parametrize(
    ("said", "claimed"), [(True, True), (0, False), ("True", True), ("wrong", False), (1.0, True)]
)
def test_a_verdict_is_read_however_it_is_written(said: object, claimed: bool) -> None:
    (one,) = told({**ASKED, "text": "Hm.</think>3", "correct": said})
    assert one.claimed is claimed


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"question": "q", "answer": "3"}, "holds no thinking"),
        ({"text": "Hm.</think>3", "model": "m"}, "holds no question"),
        ({**ASKED, "question": [{"role": "system", "content": "q"}], "text": "Hm"}, "no question"),
        ({**ASKED, "model": None, "text": "Hm.</think>3"}, "does not name its model"),
        ({**ASKED, "text": "</think>3"}, "holds no thinking"),
    ],
)
def test_a_row_that_lacks_something_says_what(row: dict[str, Any], why: str) -> None:
    with pytest.raises(BadRow, match=why):
        told(row)
