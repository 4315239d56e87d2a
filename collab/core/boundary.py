"""Where a unit ends, and where a recording is cut.

A boundary tells the server what it can (`stops`, `limit`) and decides the rest on the text (`cut`).
Ends that no stop string can express are found by asking for `piece` tokens at a time. Line breaks
after an end stay with the left unit, as far as the writer's last token holds them; a space belongs
to the word that follows it, as it does in the token vocabularies of today's models.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field, field_validator
from typing_extensions import override

from collab.core.settings import Settings
from collab.core.trajectory import Recording

Cutting = Literal["sentence", "chunk"]
"""Where recordings may be cut: behind a sentence (the paper), or a chunk (its authors' code)."""
CHUNK = 30
"""Words that a chunk has at least, and half of what it has at most, where lines allow it."""
_MARK = r"[.!?…][\"'”’)\]]*"
_IN_LIST = r"(?<!^\d)(?<!\n\d)(?<!^\d\d)(?<!\n\d\d)"
_SENTENCE = re.compile(rf"{_MARK}\n+|{_IN_LIST}{_MARK}(?=[ \t])|\n{{2,}}")
_PARAGRAPH = re.compile(r"(?<=\S)\s*?\n{2,}")
_LINE = re.compile(r"(?<=\S)\s*?\n")
_BLANK = re.compile(r"\n{2,}")
_BREAK = re.compile(r"\n")
_WORD = re.compile(r"\S+")


class Boundary(Settings):
    """Where the unit that is being written ends."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings at which the server may stop."""
        return ()

    @property
    def limit(self) -> int | None:
        """The most tokens that the unit may have."""
        return None

    @property
    def piece(self) -> int | None:
        """Tokens to ask for at a time, where only the text can tell the end."""
        return None

    def cut(self, text: str) -> int | None:
        """Return where a unit that begins with `text` ends (characters), None where it goes on."""
        return None


class Sentence(Boundary):
    """One sentence, with the line breaks after it."""

    @property
    @override
    def stops(self) -> tuple[str, ...]:
        # A server may take few: the commonest ends come first.
        return ("\n\n", *(mark + space for mark in ".?!…" for space in " \n"))

    @override
    def cut(self, text: str) -> int | None:
        return next((end for end in sentence_ends(text) if text[:end].strip()), None)


class Paragraph(Boundary):
    """One paragraph, with the blank line after it."""

    @property
    @override
    def stops(self) -> tuple[str, ...]:
        return ("\n\n",)

    @override
    def cut(self, text: str) -> int | None:
        found = _PARAGRAPH.search(text)
        return found.end() if found else None


class Tokens(Boundary):
    """A fixed number of the author's tokens."""

    count: int = Field(ge=1)

    @property
    @override
    def limit(self) -> int:
        return self.count


class Words(Boundary):
    """A chunk of `count` words (runs of non-blank characters)."""

    count: int = Field(ge=1)

    @property
    @override
    def piece(self) -> int:
        return 2 * self.count + 8

    @override
    def cut(self, text: str) -> int | None:
        words = list(_WORD.finditer(text))
        return words[self.count - 1].end() if len(words) > self.count else None


class Tag(Boundary):
    """Up to and including a tag that the writer writes itself.

    The tag becomes a unit of its own, a signal, which only its author reads. Where the tag closes a
    pair, as in `<call>64</call>`, the signal is all of the pair.
    """

    tag: str = Field(min_length=1)
    opens: str = ""
    """The tag that opens the pair; empty where there is but the one."""

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
    """Up to and including the first match of a pattern."""

    pattern: str
    piece_tokens: int = Field(default=64, ge=1)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            if re.compile(pattern).match(""):
                raise ValueError(f"pattern {pattern!r} matches the empty text: no unit could end")
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
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
    """Up to the writer's own close of the thinking."""


class Answer(Boundary):
    """Through the close of the thinking to the end of the answer, in one request."""


class Share(Boundary):
    """A recording, up to a share of its own length, at the nearest sentence end.

    By chunks, it is that share of its chunks, rounded down, but one at least.
    """

    of: float = Field(gt=0, le=1)
    by: Cutting = "sentence"


class Length(Boundary):
    """A recording, for about `tokens` tokens more, to the nearest end of a sentence or chunk."""

    tokens: int = Field(ge=1)
    by: Cutting = "sentence"


@dataclass(frozen=True, slots=True)
class Cut:
    """A place in a recording."""

    chars: int
    tokens: int
    """Tokens before the cut; 0 where the recording's tokens are not known."""
    share: float
    """The realised share of the recording that lies before it."""
    counted: Literal["tokens", "characters"] = "tokens"


def sentence_ends(text: str) -> Iterable[int]:
    """Yield where the sentences of `text` end, line breaks included (characters)."""
    return (found.end() for found in _SENTENCE.finditer(text))


def chunk_ends(text: str) -> Iterable[int]:
    """Yield where the chunks of `text` end, line breaks included (characters).

    Paragraphs, those beyond two chunks' words broken behind lines; what is less than a chunk joins
    the one before it where that stays within two (as the paper's authors' code does).
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
    """Yield the end of each paragraph, or of a run of lines in a long one, and its words."""
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
    """Yield the stretches that end behind a mark, and what is left behind the last."""
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
    nor to nothing behind the character `start`. By chunks, it keeps that share of them.

    Raises:
        ValueError: The share lies outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share!r} lies outside 0 to 1")
    if not share:
        return _cut_of(recording, 0)
    if by == "sentence":
        return nearest_cut(recording, share * _length(recording), start)
    cuts = _cuts(recording, by)
    kept = cuts[: max(int(share * len(cuts) + 1e-9), 1)]
    return kept[-1] if kept and kept[-1].chars > start else _next(recording, cuts, start)


def nearest_cut(
    recording: Recording, length: float, start: int = 0, by: Cutting = "sentence"
) -> Cut:
    """Cut a recording at the end nearest to `length`, behind the character `start`.

    `length` counts from the recording's begin, in tokens where they are known, else in characters.
    """
    cuts = [cut for cut in _cuts(recording, by) if cut.chars > start]
    if not cuts:
        return _cut_of(recording, len(recording.text))
    counted = [cut.tokens if recording.ends is not None else cut.chars for cut in cuts]
    return cuts[min(range(len(cuts)), key=lambda index: abs(counted[index] - length))]


def _next(recording: Recording, cuts: Iterable[Cut], start: int) -> Cut:
    """Return the first cut behind a character, or the end."""
    whole = _cut_of(recording, len(recording.text))
    return next((cut for cut in cuts if cut.chars > start), whole)


def part(recording: Recording, first: Cut, last: Cut) -> Recording:
    """Return what lies between two cuts of a recording as a recording of its own."""
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
    return _cut_of(recording, chars)


def cut_through(recording: Recording, chars: int) -> Cut:
    """Cut a recording at the first token that ends at or after a character."""
    if recording.ends is None:
        return _cut_of(recording, chars)
    return _cut_of(recording, recording.ends[bisect_left(recording.ends, chars)])


def first_paragraph(recording: Recording) -> Cut:
    """Cut a recording at the sentence end that ends its first paragraph.

    Paragraphs end in a blank line; in a text without one in a line break, else with a sentence.
    """
    found = _PARAGRAPH.search(recording.text) or _LINE.search(recording.text)
    end = found.end() if found else 1
    return next((cut for cut in _cuts(recording) if cut.chars >= end), _cut_of(recording, 0))


def _cuts(recording: Recording, by: Cutting = "sentence") -> list[Cut]:
    """List the sentence ends of a recording that are also ends of tokens, and its own end.

    Chunks end with the token that holds their end: none is lost.
    """
    if by == "chunk":
        return [cut_through(recording, end) for end in chunk_ends(recording.text)]
    ends = {*sentence_ends(recording.text), len(recording.text)}
    if recording.ends is not None:
        ends &= set(recording.ends)
    return [_cut_of(recording, end) for end in sorted(ends) if end]


def _cut_of(recording: Recording, chars: int) -> Cut:
    total = len(recording.text)
    if recording.ends is None:
        return Cut(chars, 0, chars / total if total else 0.0, "characters")
    tokens = bisect_right(recording.ends, chars)
    where = recording.ends[tokens - 1] if tokens else 0
    return Cut(where, tokens, tokens / len(recording.ends) if recording.ends else 0.0)


def _length(recording: Recording) -> int:
    return len(recording.text) if recording.ends is None else len(recording.ends)
