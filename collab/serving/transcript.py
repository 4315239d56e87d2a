"""The text of one choice as its tokens come in: where it stops, and what may be told already."""

from __future__ import annotations

import codecs
from typing import Literal

from collab.serving.backend import Job, Piece, TokenLogprob


class Transcript:
    """What one choice has written.

    Stop strings are looked for in UTF-8 bytes, so that a character may be spread over tokens. The
    token that completes a stop string is part of the ids as a whole, as in vLLM.
    """

    def __init__(self, job: Job, choice: int, ends: frozenset[int]) -> None:
        self.ids: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish: Literal["stop", "length"] | None = None
        self._job, self._choice = job, choice
        self._ends = frozenset() if job.ignore_end else ends
        self._stops = [(stop, stop.encode()) for stop in job.stop]
        self._longest = max((len(stop) for _, stop in self._stops), default=1)
        self._text = bytearray()
        self._searched = 0
        self._stop_reason: str | int | None = None
        self._told_ids = self._told_text = self._told_logprobs = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int, text: bytes) -> bool:
        """Append a token with its text; return whether the choice is finished."""
        self.ids.append(token)
        if token in self._ends or token in self._job.stop_ids:
            self.finish = "stop"
            self._stop_reason = None if token in self._ends else token
            self._text += text if self._job.keep_stop else b""
        else:
            self._text += text
            if self._stops:
                self._search()
            if self.finish is None and len(self.ids) >= self._job.max_tokens:
                self.finish = "length"
        return self.finish is not None

    def _search(self) -> None:
        """Cut the text at the first stop string, in their order, that the new text completes."""
        if len(self.ids) > self._job.min_tokens:
            for stop, encoded in self._stops:
                at = self._text.find(encoded, max(0, self._searched - self._longest + 1))
                if at >= 0:
                    del self._text[at + len(encoded) * self._job.keep_stop :]
                    self.finish, self._stop_reason = "stop", stop
                    return
        self._searched = len(self._text)

    def take(self, cached: int = 0) -> Piece:
        """Return what was not told yet.

        The beginning of what may become a stop string, and of a character, waits for its end.
        """
        held = self._longest - 1 if self._stops and not self._job.keep_stop else 0
        end = len(self._text) if self.finish else max(self._told_text, len(self._text) - held)
        fresh = bytes(self._text[self._told_text : end])
        ids, logprobs = self.ids[self._told_ids :], self.logprobs[self._told_logprobs :]
        self._told_text, self._told_ids = end, len(self.ids)
        self._told_logprobs = len(self.logprobs)
        return Piece(
            text=self._decoder.decode(fresh, final=self.finish is not None),
            ids=tuple(ids),
            choice=self._choice,
            finish=self.finish,
            stop_reason=self._stop_reason,
            logprobs=tuple(logprobs),
            cached=cached,
        )
