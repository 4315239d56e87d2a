"""Play a recording: return its next part as a unit."""

from __future__ import annotations

from math import ceil

from collab.core.boundary import (
    Boundary,
    Cut,
    Length,
    Share,
    cut_after,
    cut_at_share,
    cut_through,
    nearest_cut,
)
from collab.core.trajectory import Recording, Unit
from collab.errors import PolicyError


def play(recording: Recording, played: int, until: Boundary, author: str, why: str) -> Unit:
    """Return the next part of a recording as a unit.

    Args:
        recording: The finished trajectory to play from.
        played: The length played before (characters).
        until: `Share` counts from the start of the recording, all others from `played`.
        author: The seat that plays it.
        why: The policy's reason.
    """
    first = cut_after(recording, played)
    last = _end(recording, first, until)
    known = recording.ids is not None and recording.ends is not None
    ids = recording.ids[first.tokens : last.tokens] if known and recording.ids else None
    return Unit(
        author=author,
        text=recording.text[first.chars : last.chars],
        kind="recorded",
        why=why,
        ids=ids,
        tokenizer=recording.tokenizer if ids is not None else None,
        tokens=last.tokens - first.tokens,
        generations=(recording.generation,) if recording.generation else (),
    )


def _end(recording: Recording, first: Cut, until: Boundary) -> Cut:
    match until:
        case Share(of=share, by=by):
            return cut_at_share(recording, share, first.chars, by)
        case Length(tokens=tokens, by=by):
            return nearest_cut(recording, _advance(recording, first, tokens), first.chars, by)
        case _ if until.limit is not None:
            end = ceil(_advance(recording, first, until.limit))
            ends = recording.ends or range(1, len(recording.text) + 1)
            return cut_through(recording, ends[min(end, len(ends)) - 1])
        case _:
            cut = until.cut(recording.text[first.chars :])
            return cut_through(recording, len(recording.text) if cut is None else first.chars + cut)


def _advance(recording: Recording, first: Cut, tokens: int) -> float:
    """Return the place `tokens` tokens later, in tokens or, without ids, in characters."""
    if recording.ends is not None:
        return first.tokens + tokens
    if not recording.tokens:
        raise PolicyError(
            f"cannot play {tokens} tokens of the recording on {recording.question!r}: its tokens "
            "are not counted; use Share instead"
        )
    return first.chars + tokens * len(recording.text) / recording.tokens
