"""Limits on the size of a reply; the rest of a longer one is not read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from collab.core.sampling import OpenTurn, Prompt, Request
from collab.errors import BadReply

BASE = 2**20
"""Bytes of a reply in addition to the requested text: names, counts, a vendor's own fields."""
TOKEN, FURTHER = 128, 32
"""Bytes of a token that is written, with its id: in one choice, and in each further one."""
LIKELY = 256
"""Bytes of one of the likeliest tokens at a place."""
READ = 16
"""Bytes of a prompt's token where its id is repeated."""
EVENT = 1024
"""Bytes of a stream's event besides its token."""
MOST = 48 * 2**20
"""Bytes of any reply."""
ERROR = 2**18
"""Bytes of a refusal that are read; the rest is let go."""
SMALL = 2**18
"""Bytes up to which a body's objects and lists are not counted: it cannot hold too many."""
PARTS = 20_000
"""Objects and lists of a reply in addition to those for the requested text."""
LETTERS, SOME = 32, 2**16
"""Characters a token can have on average, and characters of any text besides."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """How much may come."""

    size: int = BASE
    """Bytes of a body, packed and unpacked, and of a stream's line."""
    stream: int = BASE
    """Bytes of a whole stream."""
    parts: int = PARTS
    """Objects and lists in a body's JSON: each takes a hundred times its bytes while it is read."""
    choices: int = 1
    tokens: int = 0
    """Tokens of a choice."""

    @classmethod
    def of(cls, request: Request, n: int) -> BodyLimit:
        """Return the limit for the reply to a request for `n` draws."""
        tops = (request.logprobs or 0) + 1 if request.logprobs else 0
        written = request.max_tokens * (TOKEN + FURTHER * (n - 1) + n * LIKELY * tops)
        read = _length(request.prompt) * (READ * n + (2 * LIKELY if request.scored else 0))
        size = min(BASE + written + read, MOST)
        parts = request.max_tokens * n * (2 + 2 * tops) if tops else 0
        scored = 4 * _length(request.prompt) if request.scored else 0
        return cls(
            size=size,
            stream=min(size + EVENT * request.max_tokens, 2 * MOST),
            parts=PARTS + parts + scored,
            choices=n,
            tokens=request.max_tokens,
        )

    @classmethod
    def tokenized(cls, text: str) -> BodyLimit:
        """Return the limit for the reply to a tokenization request."""
        size = len(text.encode(errors="replace"))
        return cls(size=min(BASE + 64 * size, MOST), parts=PARTS + 3 * size)

    def check(self, url: str, body: bytes) -> None:
        """Refuse a body that has more objects and lists than any reply, before it is parsed.

        Raises:
            BadReply: It has.
        """
        if len(body) <= SMALL or _parts(body) <= self.parts:
            return
        if _parts(_STRING.sub(b"", body)) > self.parts:
            raise BadReply(
                f"{url} sent a reply with more than {self.parts:,} objects and lists, too many "
                "for this request"
            )


MODELS = BodyLimit(size=8 * 2**20, parts=50_000)
"""A list of models: the longest known has some hundreds, two kilobytes each."""


def too_long(url: str, most: int, what: str = "a reply") -> BadReply:
    """Return the error for a part that is longer than allowed (bytes)."""
    return BadReply(
        f"{url} sent {what} of more than {most:,} bytes, too long for this request; the rest was "
        "not read"
    )


def check_text(request: Request, text: str) -> None:
    """Refuse a text that is longer than its tokens can be.

    Raises:
        BadReply: It is.
    """
    most = LETTERS * request.max_tokens + SOME
    if len(text) > most:
        raise BadReply(
            f"the endpoint wrote {len(text):,} characters, too many for max_tokens="
            f"{request.max_tokens}"
        )


def check_count(asked: int, came: int) -> None:
    """Refuse far more tokens than were asked for: a server may count a few otherwise.

    Raises:
        BadReply: There are as many.
    """
    if came > 2 * asked + 64:
        raise BadReply(f"the endpoint wrote {came:,} tokens, but max_tokens was {asked:,}")


def check_ids(request: Request, ids: tuple[int, ...]) -> None:
    """Refuse more ids than were asked for, and numbers that are no ids.

    Raises:
        BadReply: There are some.
    """
    check_count(request.max_tokens, len(ids))
    if not are_ids(ids):
        raise BadReply(f"the endpoint returned {max(ids, key=abs)!r}, which is not a token id")


def are_ids(ids: tuple[int, ...]) -> bool:
    """Say whether numbers can be ids of tokens."""
    return not ids or 0 <= min(ids) <= max(ids) < 2**32


def _parts(body: bytes) -> int:
    return body.count(b"{") + body.count(b"[")


def _length(prompt: Prompt) -> int:
    """Count a prompt's tokens at most: no token is shorter than a byte."""
    if isinstance(prompt, tuple):
        return len(prompt)
    if isinstance(prompt, OpenTurn):
        texts = (*(one.content for one in prompt.messages), prompt.thought, prompt.said or "")
        return sum(len(text.encode(errors="replace")) for text in texts) + 64 * len(prompt.messages)
    return len(prompt.encode(errors="replace"))
