from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from collab.core.boundary import (
    Answer,
    Boundary,
    End,
    Length,
    Paragraph,
    Regex,
    Sentence,
    Share,
    Tag,
    Tokens,
    Words,
    chunk_ends,
    cut_after,
    cut_at_share,
    first_paragraph,
    nearest_cut,
    part,
)
from collab.core.sentences import sentence_ends
from collab.core.trajectory import Recording
from collab.episode.playback import play

PIECES = st.sampled_from(["So", " 3", ".5", ".", "\n", "\n\n", " it is", "?", '"', " ", "1", "…"])


def sentences(text: str) -> list[str]:
    """Split a text at its sentence ends."""
    marks = [0, *sentence_ends(text)]
    return [text[start:end] for start, end in zip(marks, [*marks[1:], len(text)], strict=True)]


def recorded(*tokens: str) -> Recording:
    """A recording with one id a token."""
    ends = tuple(accumulate(map(len, tokens)))
    ids = tuple(range(len(tokens)))
    text = "".join(tokens)
    return Recording("q", text, len(ids), ids=ids, tokenizer="t", ends=ends)


@pytest.mark.parametrize(
    "parts",
    [
        ["It is 4.", " So we stop.", " Good"],
        ["It is 4.\n", "So we stop"],
        ["It is 4.\n\n", "So we stop"],
        ["Pi is 3.14 or so.", " Yes"],
        ["Is it?", " Yes!", " It is"],
        ['He said "stop."', " Then"],
        ["(It is so.)", " Then"],
        ["Hmm...", " so"],
        ["Hmm…", " so"],
        ["1. First we add.", " Then\n2. Second"],
        ["So:\n1. Add.\n", "2. Take.\n", "10. Stop.\n", "Done"],
        ["12. Twelve.", " Then"],
        ["The sum is\n7.\n", "So"],
        ["A title\n\n", "Text"],
        ["e.g"],
        [" It"],
        ["\n\n", "It is.", " So"],
    ],
)
def test_a_text_falls_into_these_sentences(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


@pytest.mark.parametrize(
    ("until", "text", "unit"),
    [
        (Sentence(), "It is 4. So", "It is 4."),
        (Sentence(), "\n\nIt is 4.\n\nSo", "\n\nIt is 4.\n\n"),
        (Sentence(), "It is 4.", None),
        (Sentence(), "It is 4.5 so", None),
        (Paragraph(), "One.\nTwo.\n\nThree", "One.\nTwo.\n\n"),
        (Paragraph(), "One.\n\n\nTwo", "One.\n\n\n"),
        (Paragraph(), "\n\nOne", None),
        (Words(count=2), "so it is", "so it"),
        (Words(count=2), "so it", None),
        (Words(count=2), "\n so\nit\nis", "\n so\nit"),
        (Tag(tag="</step>"), "a</step>b", "a</step>"),
        (Tag(tag="</step>"), "a</ste", None),
        (Regex(pattern=r"= \d"), "so = 4 = 5", "so = 4"),
        (Regex(pattern=r"= \d"), "so", None),
        (Tokens(count=2), "a. b. c.\n\n", None),
        (End(), "a. b.\n\n", None),
        (Answer(), "a. b.\n\n", None),
    ],
)
def test_a_unit_ends_here(until: Boundary, text: str, unit: str | None) -> None:
    cut = until.cut(text)
    assert (None if cut is None else text[:cut]) == unit


@given(text=st.lists(PIECES, max_size=30).map("".join))
def test_a_server_that_stops_at_the_strings_has_not_gone_past_a_bare_sentence_end(
    text: str,
) -> None:
    cut = Sentence().cut(text)
    if cut is not None and text[:cut].rstrip("\n")[-1:] not in ('"', ""):
        assert any(stop in text[: cut + 1] for stop in Sentence().stops)


@given(text=st.lists(PIECES, max_size=30).map("".join))
def test_sentences_put_together_are_the_text(text: str) -> None:
    parts = sentences(text)
    assert "".join(parts) == text
    assert all(parts[:-1])
    assert not any(part.startswith("\n") for part in parts[1:])


@pytest.mark.parametrize(
    "settings",
    [
        {"pattern": "a*"},
        {"pattern": "("},
        {"pattern": "a", "piece_tokens": 0},
        {"pattern": "a", "flags": "x"},
    ],
)
def test_a_pattern_that_could_end_no_unit_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Regex.model_validate(settings)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Tokens, {"count": 0}),
        (Words, {"count": 0}),
        (Tag, {"tag": ""}),
        (Share, {"of": 0}),
        (Share, {"of": 1.7}),
        (Length, {"tokens": 0}),
    ],
)
def test_a_boundary_without_extent_is_refused(kind: type[Boundary], value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize("share", [-0.1, 1.7, float("nan"), float("inf")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="outside 0 to 1"):
        cut_at_share(recorded("a", "."), share)


@pytest.mark.parametrize(
    ("tokens", "first"),
    [
        (["A", " b.", "\n", "C", ".", "\n\n", "D", "."], "A b.\nC.\n\n"),
        (["A", " title", "\n\n", "D", "."], "A title\n\n"),
        (["\n\n", "A.", "\n\n", "D."], "\n\nA.\n\n"),
        (["A.", "\n", "B.", "\n"], "A.\n"),
        (["A", " b", "\n", "C", ".", "\n", "D."], "A b\nC.\n"),  # no sentence ends earlier
        (["A.", " B.", " C."], "A."),
        (["A.", "\n\nB", " c.", " D."], "A.\n\nB c."),  # no token ends with the paragraph
        (["no", " end"], "no end"),
        ([], ""),
    ],
)
def test_the_first_paragraph_ends_where_a_share_can_cut(tokens: list[str], first: str) -> None:
    recording = recorded(*tokens)
    cut = first_paragraph(recording)
    assert recording.text[: cut.chars] == first
    assert cut_at_share(recording, cut.share) == cut


def test_a_share_is_cut_at_the_nearest_sentence_end() -> None:
    recording = recorded("One", " is", ".", " Two", " is", " three", " less", ".", " Go", ".")
    assert [cut_at_share(recording, share).tokens for share in (0, 0.2, 0.5, 0.6, 0.85, 1)] == [
        *(0, 3, 3, 8, 8, 10),
    ]
    cut = cut_at_share(recording, 0.5)
    assert recording.text[: cut.chars] == "One is."
    assert (cut.share, cut.counted) == (0.3, "tokens")


def test_a_sentence_end_inside_a_token_is_no_place_to_cut() -> None:
    recording = recorded("One", ". Two", " is", ".", " Go")
    assert recording.text[: cut_at_share(recording, 0.3).chars] == "One. Two is."


def test_a_recording_without_ids_is_cut_by_characters_and_says_so() -> None:
    recording = Recording("q", "One is. Two is three less. Go.", tokens=10)
    cut = cut_at_share(recording, 0.3)
    assert recording.text[: cut.chars] == "One is."
    assert (cut.tokens, cut.counted) == (0, "characters")
    assert cut.share == pytest.approx(7 / 30)


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    tokens = draw(st.lists(PIECES, min_size=1, max_size=40))
    known = draw(st.booleans())
    return recorded(*tokens) if known else Recording("q", "".join(tokens), len(tokens))


@given(recording=recordings(), share=st.floats(0, 1, exclude_min=True))
def test_a_steer_is_never_empty_and_no_cut_lies_nearer_to_its_share(
    recording: Recording, share: float
) -> None:
    cut = cut_at_share(recording, share)
    ends = recording.ends or range(1, len(recording.text) + 1)
    assert 0 < cut.chars <= len(recording.text)
    places = {*sentence_ends(recording.text), len(recording.text)} & set(ends)
    assert cut.chars in places
    total = len(ends)
    counts = [bisect_right(ends, place) for place in places]
    count = bisect_right(ends, cut.chars)
    assert cut.share == count / total
    assert abs(count - share * total) == min(abs(other - share * total) for other in counts)
    assert cut.tokens == (count if recording.ends else 0)


@given(recording=recordings(), share=st.floats(0, 1), other=st.floats(0, 1))
def test_a_larger_share_never_ends_earlier(
    recording: Recording, share: float, other: float
) -> None:
    less, more = sorted((share, other))
    assert cut_at_share(recording, less).chars <= cut_at_share(recording, more).chars


@given(recording=recordings(), chars=st.integers(0, 80))
def test_a_cut_after_a_character_never_goes_past_it(recording: Recording, chars: int) -> None:
    chars = min(chars, len(recording.text))
    cut = cut_after(recording, chars)
    assert cut.chars <= chars
    assert recording.ends is None or cut.chars in (0, *recording.ends)


def test_the_nearest_cut_lies_behind_what_was_played() -> None:
    recording = recorded("One", ".", " Two", ".", " Three", ".")
    assert nearest_cut(recording, 1, start=4).tokens == 4
    assert nearest_cut(recording, 1, start=len(recording.text)).tokens == 6


BOUNDARIES: list[Boundary] = [
    Sentence(),
    Paragraph(),
    Words(count=1),
    Words(count=3),
    Tokens(count=2),
    Regex(pattern="i"),
    Length(tokens=3),
    Share(of=0.1),
    End(),
]


@pytest.mark.parametrize("until", BOUNDARIES, ids=repr)
@given(recording=recordings())
def test_a_recording_played_to_its_end_is_the_recording(
    until: Boundary, recording: Recording
) -> None:
    units, played = [], 0
    while played < len(recording.text):
        unit = play(recording, played, until, "guide", "a part")
        assert unit.text, "a part that is empty never ends"
        units.append(unit)
        played += len(unit.text)
    assert "".join(unit.text for unit in units) == recording.text
    if recording.ids is not None:
        assert tuple(index for unit in units for index in unit.ids or ()) == recording.ids


def test_a_recording_whose_token_ends_are_not_known_is_played_as_text() -> None:
    recording = Recording("q", "One. Two.", 4, ids=(1, 2, 3, 4), tokenizer="t")
    unit = play(recording, 0, Sentence(), "guide", "")
    assert (unit.text, unit.ids, unit.tokenizer) == ("One.", None, None)


def test_a_length_in_tokens_of_a_recording_without_ids_goes_by_its_tokens_a_character() -> None:
    text = "It is so. " * 20
    unit = play(Recording("q", text, tokens=80), 0, Length(tokens=8), "guide", "")
    assert unit.text == "It is so. It is so."
    later = play(Recording("q", text, tokens=80), 100, Length(tokens=8), "guide", "")
    assert later.text == "It is so. It is so."


def chunks(text: str) -> list[str]:
    ends = list(chunk_ends(text))
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def words_of(count: int) -> str:
    return " ".join(["word"] * count)


def test_a_chunk_is_a_paragraph_and_what_is_less_joins_the_one_before() -> None:
    one, two, small = words_of(40), words_of(35), words_of(10)
    text = f"{one}\n\n{small}\n\n{two}\n\n{small}\n\n{small}"
    assert chunks(text) == [f"{one}\n\n{small}\n\n", f"{two}\n\n{small}\n\n{small}"]
    assert chunks(f"{words_of(55)}\n\n{small}") == [f"{words_of(55)}\n\n", small]


def test_a_paragraph_of_more_than_two_chunks_is_broken_behind_lines() -> None:
    line = words_of(25)
    assert chunks("\n".join([line] * 4)) == [f"{line}\n{line}\n", f"{line}\n{line}"]
    assert chunks(words_of(90)) == [words_of(90)]
    long = words_of(59)
    assert chunks(f"{line}\n{long}\n{line}") == [f"{line}\n", f"{long}\n", line]


@given(st.text("a \n", max_size=300))
def test_chunks_are_all_of_the_text(text: str) -> None:
    assert "".join(chunks(text)) == text


def test_a_share_of_the_chunks_is_rounded_down_but_one_at_least() -> None:
    text = "".join(f"{words_of(40)}\n\n" for _ in range(5))
    trace = Recording("q", text, 0)
    size = len(text) // 5
    kept = [
        cut_at_share(trace, share, by="chunk").chars // size for share in (0, 0.1, 0.4, 0.59, 1)
    ]
    assert kept == [0, 1, 2, 2, 5]
    assert cut_at_share(trace, 0.2, start=2 * size, by="chunk").chars == 3 * size
    assert cut_at_share(trace, 0.2, start=len(text), by="chunk").chars == len(text)


def test_a_part_of_a_recording_keeps_its_own_tokens() -> None:
    trace = Recording("q", "One. Two. Three.", 6, tuple(range(6)), "t", (3, 4, 8, 9, 15, 16))
    middle = part(trace, cut_at_share(trace, 0.3), cut_at_share(trace, 0.7))
    assert (middle.text, middle.ids, middle.ends, middle.tokens) == (" Two.", (2, 3), (4, 5), 2)
    plain = replace(trace, ids=None, ends=None)
    assert part(plain, cut_at_share(plain, 0.3), cut_at_share(plain, 1.0)).tokens in (4, 5)
