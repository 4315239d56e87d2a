"""Where a unit ends, and where a recording is cut.

A boundary gives the server stop strings and a token limit (`stops`, `limit`), and finds the exact
end in the text (`cut`). An end that no stop string can express is found by requesting `piece`
tokens at a time. Line breaks after an end stay with the unit before them, as far as its last token
holds them. A space belongs to the word that follows it, as in the vocabularies of today's models.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field, field_validator
from typing_extensions import override

from collab.core.pattern_text import PatternText
from collab.core.sentences import sentence_ends
from collab.core.settings import Settings
from collab.core.trajectory import Recording

Cutting = Literal["sentence", "chunk"]
"""Where recordings may be cut: after a sentence (the paper), or a chunk (its authors' code)."""
CHUNK = 30
"""Fewest words of a chunk; the most are twice as many, where line breaks allow it."""
_PARAGRAPH = re.compile(r"(?<=\S)\s*?\n{2,}")
_LINE = re.compile(r"(?<=\S)\s*?\n")
_BLANK = re.compile(r"\n{2,}")
_BREAK = re.compile(r"\n")
_WORD = re.compile(r"\S+")


class Boundary(Settings):
    """The end of a unit.

    The base class ends nowhere; subclasses override what they need.

    Examples:
        >>> from collab import Boundary, Sentence
        >>> Boundary().cut("So 3. Then 4.") is None
        True
        >>> Sentence().cut("So 3. Then 4.")
        5
    """

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings at which the server may stop."""
        return ()

    @property
    def limit(self) -> int | None:
        """The largest number of tokens in the unit; None: unlimited."""
        return None

    @property
    def piece(self) -> int | None:
        """The tokens per request if no stop string can express the end; None: all at once."""
        return None

    def cut(self, text: str) -> int | None:
        """Return where a unit that begins with `text` ends (characters); None: not in `text`."""
        return None


class Sentence(Boundary):
    r"""One sentence, with the line breaks after it.

    Marks inside formulas, code, abbreviations and the numbers of lists end no sentence, nor does a
    colon before its formula.

    Examples:
        >>> from collab import Sentence
        >>> Sentence().cut("It is 3.5 m.\n\nThen")
        14
    """

    @property
    @override
    def stops(self) -> tuple[str, ...]:
        # A server may take few: the commonest ends come first.
        return ("\n\n", *(mark + space for mark in ".?!…" for space in " \n"), *"。？！")

    @override
    def cut(self, text: str) -> int | None:
        return next((end for end in sentence_ends(text) if text[:end].strip()), None)


class Paragraph(Boundary):
    r"""One paragraph, with the blank line after it.

    Examples:
        >>> from collab import Paragraph
        >>> Paragraph().cut("One. Two.\n\nThree.")
        11
    """

    @property
    @override
    def stops(self) -> tuple[str, ...]:
        return ("\n\n",)

    @override
    def cut(self, text: str) -> int | None:
        found = _PARAGRAPH.search(text)
        return found.end() if found else None


class Tokens(Boundary):
    """A fixed number of the author's tokens.

    Examples:
        >>> from collab import Tokens
        >>> Tokens(count=64).limit
        64
    """

    count: int = Field(ge=1)
    """Tokens in a unit."""

    @property
    @override
    def limit(self) -> int:
        return self.count


class Words(Boundary):
    """A fixed number of words (runs of non-blank characters).

    Examples:
        >>> from collab import Words
        >>> Words(count=2).cut("So we add")
        5
    """

    count: int = Field(ge=1)
    """Words in a unit."""

    @property
    @override
    def piece(self) -> int:
        return 2 * self.count + 8

    @override
    def cut(self, text: str) -> int | None:
        words = list(_WORD.finditer(text))
        return words[self.count - 1].end() if len(words) > self.count else None


class Tag(Boundary):
    """The text up to and including a tag that the writer writes itself.

    The tag becomes a separate unit of kind `signal`, which only its author reads. If the tag closes
    a pair, as in `<call>64</call>`, the signal is the whole pair.

    Examples:
        >>> from collab import Tag
        >>> call = Tag(tag="</call>", opens="<call>")
        >>> text = "I am unsure. <call>64</call>"
        >>> text[call.begin(text, call.cut(text)):]
        '<call>64</call>'
    """

    tag: str = Field(min_length=1)
    """Tag that ends the unit."""
    opens: str = ""
    """Tag that opens the pair; empty: the tag is no part of a pair."""

    @property
    @override
    def stops(self) -> tuple[str, ...]:
        return (self.tag,)

    @override
    def cut(self, text: str) -> int | None:
        at = text.find(self.tag)
        return None if at < 0 else at + len(self.tag)

    def begin(self, text: str, end: int) -> int:
        """Return where the signal that ends at `end` begins (characters)."""
        at = end - len(self.tag)
        opened = text.rfind(self.opens, 0, at) if self.opens else -1
        return opened if opened >= 0 else at


class Regex(Boundary):
    r"""The text up to and including the first match of a pattern.

    Examples:
        >>> from collab import Regex
        >>> Regex(pattern=r"\n(?=Step )").cut("Step 1: add.\nStep 2")
        13
    """

    pattern: PatternText
    """Regular expression; the unit ends where its first match ends."""
    piece_tokens: int = Field(default=64, ge=1)
    """Tokens per request; the pattern is looked for after each."""

    @field_validator("pattern")
    @classmethod
    def _is_not_empty(cls, pattern: str) -> str:
        if re.match(pattern, ""):
            raise ValueError(f"pattern {pattern!r} matches the empty text: a unit could be empty")
        return pattern

    @property
    @override
    def piece(self) -> int:
        return self.piece_tokens

    @override
    def cut(self, text: str) -> int | None:
        found = re.search(self.pattern, text)
        return found.end() if found else None


class End(Boundary):
    """The end of the thinking: the writer's own close tag.

    Examples:
        >>> from collab import End, Write
        >>> Write("main", until=End()).until
        End()
    """


class Answer(Boundary):
    """The end of the answer: thinking and answer are written in one request.

    Examples:
        >>> from collab import Answer, Write
        >>> Write("main", until=Answer()).until
        Answer()
    """


class Share(Boundary):
    """A recording up to a share of its length, at the nearest sentence end.

    By chunks, it is that share of the chunks, rounded down, and at least one chunk.

    Examples:
        >>> from collab import Share, Write
        >>> Write("guide", until=Share(of=0.2)).until
        Share(of=0.2, by='sentence')
    """

    of: float = Field(gt=0, le=1)
    """Share of the recording (tokens)."""
    by: Cutting = "sentence"
    """Where the recording may be cut."""


class Length(Boundary):
    """The next `tokens` tokens of a recording, to the nearest end of a sentence or chunk.

    Examples:
        >>> from collab import Length, Write
        >>> Write("distractor", until=Length(tokens=200)).until
        Length(tokens=200, by='sentence')
    """

    tokens: int = Field(ge=1)
    """Tokens to play, about."""
    by: Cutting = "sentence"
    """Where the recording may be cut."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a recording."""

    chars: int
    tokens: int
    """Tokens before the cut; 0 if the recording's tokens are unknown."""
    share: float
    """The share of the recording before the cut, as it is in fact."""
    counted: Literal["tokens", "characters"] = "tokens"


def chunk_ends(text: str) -> Iterable[int]:
    """Yield the chunk ends of a text, line breaks included (characters).

    A chunk is a paragraph. One of more than `2 * CHUNK` words is split after lines. One of fewer
    than `CHUNK` words joins the chunk before it, if both together have at most `2 * CHUNK` words.
    The paper's authors' code does the same.
    """
    chunks: list[tuple[int, int]] = []
    for end, words in _pieces(text):
        last = chunks[-1][1] if chunks else None
        small = last is not None and words < CHUNK and last + words <= 2 * CHUNK
        if last is not None and (small or not words or not last):
            chunks[-1] = end, last + words
        else:
            chunks.append((end, words))
    return (end for end, _ in chunks)


def _pieces(text: str) -> Iterable[tuple[int, int]]:
    """Yield each paragraph, or run of lines in a long one, as its end and its number of words."""
    for start, end in _spans(_BLANK, text, 0, len(text)):
        words = len(text[start:end].split())
        if words <= 2 * CHUNK:
            yield end, words
            continue
        held = 0
        for begin, stop in _spans(_BREAK, text, start, end):
            line = len(text[begin:stop].split())
            if held and held + line > 2 * CHUNK:
                yield begin, held
                held = 0
            held += line
            if held >= CHUNK:
                yield stop, held
                held = 0
        if held:
            yield end, held


def _spans(mark: re.Pattern[str], text: str, start: int, end: int) -> Iterable[tuple[int, int]]:
    """Yield the spans that end with a mark, and the rest after the last mark."""
    for found in mark.finditer(text, start, end):
        yield start, found.end()
        start = found.end()
    if start < end:
        yield start, end


def cut_at_share(
    recording: Recording, share: float, start: int = 0, by: Cutting = "sentence"
) -> Cut:
    """Cut a recording at the sentence end nearest to a share of its length.

    A share above 0 never cuts to nothing (paper §2.1: "always at the end of the nearest sentence"),
    nor to nothing after the character `start`. By chunks, it keeps that share of the chunks.

    Raises:
        ValueError: The share is outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share!r} is outside 0 to 1")
    if not share:
        return _cut_at(recording, 0)
    if by == "sentence":
        return nearest_cut(recording, share * _length(recording), start)
    cuts = _cuts(recording, by)
    kept = cuts[: max(int(share * len(cuts) + 1e-9), 1)]
    return kept[-1] if kept and kept[-1].chars > start else _first_cut_after(recording, cuts, start)


def nearest_cut(
    recording: Recording, length: float, start: int = 0, by: Cutting = "sentence"
) -> Cut:
    """Cut a recording at the sentence or chunk end nearest to `length`, after character `start`.

    `length` counts from the start of the recording, in tokens if they are known, else in
    characters.
    """
    cuts = [cut for cut in _cuts(recording, by) if cut.chars > start]
    if not cuts:
        return _cut_at(recording, len(recording.text))
    counted = [cut.tokens if recording.ends is not None else cut.chars for cut in cuts]
    return cuts[min(range(len(cuts)), key=lambda index: abs(counted[index] - length))]


def _first_cut_after(recording: Recording, cuts: Iterable[Cut], start: int) -> Cut:
    """Return the first cut after a character, or the end of the recording."""
    whole = _cut_at(recording, len(recording.text))
    return next((cut for cut in cuts if cut.chars > start), whole)


def part(recording: Recording, first: Cut, last: Cut) -> Recording:
    """Return the part of a recording between two cuts as a recording."""
    inside = slice(first.tokens, last.tokens)
    known = recording.ends is not None
    return replace(
        recording,
        text=recording.text[first.chars : last.chars],
        tokens=last.tokens - first.tokens if known else _tokens_of(recording, first, last),
        ids=recording.ids[inside] if recording.ids is not None and known else None,
        ends=tuple(end - first.chars for end in recording.ends[inside]) if recording.ends else None,
    )


def _tokens_of(recording: Recording, first: Cut, last: Cut) -> int:
    return round((last.share - first.share) * recording.tokens)


def cut_after(recording: Recording, chars: int) -> Cut:
    """Cut a recording at the last token that ends at or before a character."""
    return _cut_at(recording, chars)


def cut_through(recording: Recording, chars: int) -> Cut:
    """Cut a recording at the first token that ends at or after a character."""
    if recording.ends is None:
        return _cut_at(recording, chars)
    return _cut_at(recording, recording.ends[bisect_left(recording.ends, chars)])


def first_paragraph(recording: Recording) -> Cut:
    """Cut a recording at the sentence end that ends its first paragraph.

    A paragraph ends in a blank line. In a text without blank lines it ends in a line break, and in
    a text without line breaks it is a sentence.
    """
    found = _PARAGRAPH.search(recording.text) or _LINE.search(recording.text)
    end = found.end() if found else 1
    return next((cut for cut in _cuts(recording) if cut.chars >= end), _cut_at(recording, 0))


def _cuts(recording: Recording, by: Cutting = "sentence") -> list[Cut]:
    """List the sentence ends of a recording that are also token ends, and its own end.

    A chunk ends with the token that holds its end, so no chunk is lost.
    """
    if by == "chunk":
        return [cut_through(recording, end) for end in chunk_ends(recording.text)]
    ends = {*sentence_ends(recording.text), len(recording.text)}
    if recording.ends is not None:
        ends &= set(recording.ends)
    return [_cut_at(recording, end) for end in sorted(ends) if end]


def _cut_at(recording: Recording, chars: int) -> Cut:
    total = len(recording.text)
    if recording.ends is None:
        return Cut(chars, 0, chars / total if total else 0.0, "characters")
    tokens = bisect_right(recording.ends, chars)
    where = recording.ends[tokens - 1] if tokens else 0
    return Cut(where, tokens, tokens / len(recording.ends) if recording.ends else 0.0)


def _length(recording: Recording) -> int:
    return len(recording.text) if recording.ends is None else len(recording.ends)
