"""The text of one choice as its tokens arrive: where it stops, and how much can be sent now."""

from __future__ import annotations

import codecs
from typing import Literal

from collab.serving.backend import Job, Piece, TokenLogprob


class Transcript:
    """The tokens and text of one choice so far.

    Stop strings are searched in UTF-8 bytes, because a character may be spread over several tokens.
    As in vLLM, the ids include the whole token that completes a stop string.
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
        self._taken_ids = self._taken_text = self._taken_logprobs = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int, text: bytes) -> bool:
        """Append a token and its text; return whether the choice is finished."""
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
        """Cut the text at the first stop string of the job that the new text completes."""
        if len(self.ids) > self._job.min_tokens:
            for stop, encoded in self._stops:
                at = self._text.find(encoded, max(0, self._searched - self._longest + 1))
                if at >= 0:
                    del self._text[at + len(encoded) * self._job.keep_stop :]
                    self.finish, self._stop_reason = "stop", stop
                    return
        self._searched = len(self._text)

    def take(self, cached: int = 0) -> Piece:
        """Return the part of the choice that was not returned yet.

        A possible beginning of a stop string or of a character is held back until it is complete.
        """
        held = self._longest - 1 if self._stops and not self._job.keep_stop else 0
        end = len(self._text) if self.finish else max(self._taken_text, len(self._text) - held)
        fresh = bytes(self._text[self._taken_text : end])
        ids, logprobs = self.ids[self._taken_ids :], self.logprobs[self._taken_logprobs :]
        self._taken_text, self._taken_ids = end, len(self.ids)
        self._taken_logprobs = len(self.logprobs)
        return Piece(
            text=self._decoder.decode(fresh, final=self.finish is not None),
            ids=tuple(ids),
            choice=self._choice,
            finish=self.finish,
            stop_reason=self._stop_reason,
            logprobs=tuple(logprobs),
            cached=cached,
        )
