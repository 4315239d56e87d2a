r"""Where sentences of reasoning text end: never inside a formula, code, a name or a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.core.boundary import Sentence
from collab.core.sentences import sentence_ends


def parts(text: str) -> list[str]:
    marks = [0, *sentence_ends(text)]
    return [text[start:end] for start, end in zip(marks, [*marks[1:], len(text)], strict=True)]


SENTENCES = {
    "display maths": ["So \\[ x = 1. y = 2. \\] holds.", " Then"],
    "display maths on lines": ["It is\n\n\\[\nx = 1.\n\ny\n\\]\n\n", "Then"],
    "two displays": ["So,\n\n\\[ a = 1 \\]\n\n", "\\[ b = 2 \\]\n\n", "Then"],
    "double dollars": ["So $$a. b$$ holds.", " Then"],
    "an environment": ["\\begin{align}\na &= 1. \\\\\n\nb\n\\end{align}\n\n", "Then"],
    "inline maths": ["Here \\(f. g\\) is a map.", " Then"],
    "dollars": ["Here $f. g$ is a map.", " Then"],
    "money": ["It costs $5.", " She pays $3.", " Then"],
    "money twice in a line": ["He has $10 and she has $20.", " Both pay."],
    "code": ["Run this:\n\n```python\nx = 1. \n\ny = 'a. b'\n```\n\n", "Then"],
    "inline code": ["Call `a. b` first.", " Then"],
    "a title": ["Ms. Thompson and Dr. Lee agree.", " Then"],
    "a figure": ["See Fig. 2 and Eq. (3).", " Then"],
    "latin": ["Take e.g. 3.14, i.e. pi.", " Then"],
    "et cetera": ["Apples, pears, etc. are fruit.", " Plums etc.", " Then"],
    "no": ["Is it 3?", " No.", " See no. 4.", " Then"],
    "a factorial": ["We know 3! = 6 and n! grows.", " Then"],
    "an exclamation": ["It works!", " Then"],
    "a factorial at the end": ["It is 3!", " Then"],
    "an ellipsis in a sum": ["Add 1 + 2 + ... + 9.", " Then"],
    "an ellipsis in a list": ["Take 1, 2, ..., 9.", " Then"],
    "an ellipsis in prose": ["Hmm...", " So it is.", " Well…", " yes"],
    "a decimal point that is open": ["So x = 1. + 2. = 3.", " Then"],
    "a delimiter": ["Then \\left. x \\right| is it.", " Then"],
    "a list": ["1. First.", " Then\n  2. Second.\n", "   **3.** Third.\n", "a. Small.\n", "B"],
    "a bold sentence": ["**It is 4.**", " Next we add."],
    "an italic sentence": ["*Wait.*", " Next"],
    "a colon before its formula": ["The sum is:\n\n\\[ 1 + 2 \\]\n\n", "Then"],
    "a colon before a list": ["We know:\n\n- a\n- b\n\n", "Then"],
    "chinese": ["所以是四。", "那么？", "「好！」", "再见"],
    "japanese": ["答えは４です。\n", "次に"],
    "a number": ["So x = 4.", " Then y = 4.5.", " So"],
    "a point": ["It meets the circle at point A.", " The angle is right."],
    "an open display": ["So \\[ x = 1. y = 2"],
    "an open formula": ["So $x = 1. y"],
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_text_falls_into_its_sentences(name: str) -> None:
    assert parts("".join(SENTENCES[name])) == SENTENCES[name]


@pytest.mark.parametrize(
    ("written", "end"),
    [
        ("It is 4. ", 8),
        ("It is 4.\n", 9),
        ("We know 3! ", None),
        ("Good idea! ", 10),
        ("See Fig. ", None),
        ("So x = 1. ", 9),
        ("So \\[ x = 1. ", None),
        ("So $x = 1. ", None),
        ("It costs $5. ", 12),
        ("The sum is:\n\n", None),
        ("So,\n\n", None),
        ("A title\n\n", 9),
        ("1 + 2 + ... ", None),
        ("Hmm... ", 6),
        ("No. ", 3),
        ("```\nx = 1. ", None),
        ("所以是四。", 5),
    ],
)
def test_a_text_that_is_still_written_ends_by_the_more_frequent_reading(
    written: str, end: int | None
) -> None:
    assert Sentence().cut(written) == end


PIECES = st.sampled_from(
    [*"aA1.!?… \n$`*()[]:", "...", "\\[", "\\]", "\\(", "\\)", "$$", "```", "e.g", "。", "\n\n"]
)


@given(text=st.lists(PIECES, max_size=40).map("".join))
def test_sentences_cover_a_text_in_order_and_never_start_in_a_closed_formula(text: str) -> None:
    ends = [*sentence_ends(text)]
    assert ends == sorted(set(ends))
    assert "".join(parts(text)) == text
    for opens, closes in (("\\(", "\\)"), ("\\[", "\\]")):
        plain = f"So {opens}a. b{closes} is. "
        assert parts(plain)[0] == plain.rstrip()
