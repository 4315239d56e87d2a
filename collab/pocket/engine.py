"""Continuous batching: each step computes one more token of every running sequence.

Running sequences occupy the cache's slots from 0 on, without gaps. A prompt is computed in a cache
of its own, and its sequences join the others once it is complete. Everything runs in one event
loop, and a step never awaits, so no other task sees an unfinished step.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import replace

import numpy as np

from collab.pocket.codec import Codec
from collab.pocket.kernel import Floats
from collab.pocket.model import Ints, KeyValueCache, PocketNetwork, TokenRows
from collab.pocket.prefix import PrefixCache
from collab.pocket.sampler import Sampler, luck
from collab.serving import Job, Piece, TokenLogprob, Transcript

logger = logging.getLogger(__name__)

SLOTS = 64
"""Sequences that are computed at once; others wait."""
CHUNK = 64
"""Tokens of a prompt that are computed at once."""
PREFIX_BYTES = 128 * 2**20
LEAST = -9999.0
"""The log-probability of a token that is not allowed, because JSON has no infinity."""
TURN = 0.002
"""Seconds of computing before other tasks of the event loop may run."""


class Engine:
    """A model that works on any number of jobs at once."""

    def __init__(
        self, model: PocketNetwork, codec: Codec, ends: frozenset[int], *, slots: int = SLOTS
    ) -> None:
        self._model, self._codec, self._ends, self._slots = model, codec, ends, slots
        self._cache, self._prefill = KeyValueCache(model.shape), KeyValueCache(model.shape)
        self._prefixes = PrefixCache(PREFIX_BYTES)
        self._sampler = Sampler(slots, model.shape.context)
        self._tokens: Ints = np.zeros(slots, np.int64)
        self._positions: Ints = np.zeros(slots, np.int64)
        self._steps: Ints = np.zeros(slots, np.int64)
        self._running: list[_Sequence] = []
        self._waiting: deque[_Sequence] = deque()
        self._filled: int | None = None
        """How many tokens of the first waiting prompt are computed; None before its first chunk."""
        self._runner: asyncio.Task[None] | None = None

    @property
    def load(self) -> int:
        """The number of sequences that are running or waiting."""
        return len(self._running) + len(self._waiting)

    async def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of all choices; closing the generator frees their slots."""
        request = _Request(job)
        self._waiting.extend(
            _Sequence(request, choice, self._codec, self._ends) for choice in range(job.n)
        )
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        try:
            while request.unfinished or request.pieces:
                for piece in await request.next():
                    yield piece
        finally:
            if request.unfinished:
                self._drop(request)

    async def _run(self) -> None:
        try:
            while self.load:
                pause = time.perf_counter() + TURN
                while self.load and time.perf_counter() < pause:
                    self._step()
                await asyncio.sleep(0)
        except Exception as error:
            logger.exception("a step failed; all jobs fail with it")
            for sequence in (*self._running, *self._waiting):
                sequence.request.fail(error)
            self._running, self._waiting, self._filled = [], deque(), None

    def _step(self) -> None:
        with np.errstate(over="ignore"):
            if self._waiting and len(self._running) < self._slots:
                self._fill(self._waiting[0])
            else:
                self._advance()

    def _fill(self, sequence: _Sequence) -> None:
        """Compute the next chunk of a prompt; after the last chunk, its sequences join."""
        ids = sequence.request.job.prompt
        scoring = sequence.request.job.prompt_logprobs
        if self._filled is None:  # a prompt with log-probabilities is computed as a whole
            self._filled = 0 if scoring is not None else self._prefixes.load(self._prefill, 0, ids)
            sequence.request.cached = max(sequence.request.cached, self._filled)
        chunk = ids[self._filled : self._filled + CHUNK]
        positions = np.arange(self._filled, self._filled + len(chunk))
        rows = TokenRows(np.array(chunk), positions, slice(0, 1))
        logits = self._model.forward(rows, self._prefill, last=scoring is None)
        if scoring is not None:
            nexts = zip(logits, ids[self._filled + 1 :], strict=False)
            sequence.request.scored += [self._logprob(*place, scoring) for place in nexts]
            logits = logits[-1:]
        self._filled += len(chunk)
        if self._filled == len(ids):
            self._filled = None
            self._prefixes.save(self._prefill, 0, ids)
            self._join(sequence.request, logits)

    def _join(self, request: _Request, logits: Floats) -> None:
        """Start the waiting choices of a prompt, as many as there are free slots."""
        first, length = len(self._running), len(request.job.prompt)
        while self._waiting and self._waiting[0].request is request:
            slot = len(self._running)
            if slot == self._slots:
                break
            sequence = self._waiting.popleft()
            self._running.append(sequence)
            self._cache.copy(slot, self._prefill, 0, length)
            self._sampler.set(slot, request.job, sequence.luck())
            self._positions[slot], self._steps[slot] = length, 0
        joined = slice(first, len(self._running))
        self._accept(joined, np.repeat(logits, joined.stop - first, axis=0))

    def _advance(self) -> None:
        count = len(self._running)
        running, positions = slice(0, count), self._positions[:count]
        rows = TokenRows(self._tokens[:count], positions, running)
        logits = self._model.forward(rows, self._cache)
        positions += 1
        self._accept(running, logits)

    def _accept(self, slots: slice, logits: Floats) -> None:
        """Draw a token for each of some slots and append it to its sequence."""
        sequences = self._running[slots]
        for row, sequence in enumerate(sequences):
            if len(sequence.transcript.ids) < sequence.request.job.min_tokens:
                logits[row, [*self._ends, *sequence.request.job.stop_ids]] = -np.inf
        drawn = self._sampler.draw(logits, slots, self._steps[slots])
        self._tokens[slots] = drawn
        self._steps[slots] += 1
        finished = []
        for row, (sequence, token) in enumerate(zip(sequences, drawn.tolist(), strict=True)):
            top = sequence.request.job.logprobs
            if top is not None:
                sequence.transcript.logprobs.append(self._logprob(logits[row], token, top))
            if sequence.transcript.add(token, sequence.texts[token]):
                finished.append(slots.start + row)
            elif sequence.request.job.stream:
                sequence.send_new()
        for slot in reversed(finished):
            self._running[slot].send_new()
            self._remember(slot)
            self._remove(slot)

    def _logprob(self, logits: Floats, token: int, top: int) -> TokenLogprob:
        """Return the log-probability of a draw, before temperature and filters as in vLLM."""
        shifted = logits - logits.max()
        logprobs = np.maximum(shifted - np.log(np.exp(shifted).sum()), LEAST)
        best = np.argsort(-logprobs, kind="stable")[:top].tolist()
        ranked = tuple(self._ranked(logprobs, *place) for place in enumerate(best, 1))
        rank = int(np.count_nonzero(logprobs > logprobs[token])) + 1
        return replace(self._ranked(logprobs, rank, token), top=ranked)

    def _ranked(self, logprobs: Floats, rank: int, token: int) -> TokenLogprob:
        return TokenLogprob(self._name(token), float(logprobs[token]), id=token, rank=rank)

    def _name(self, token: int) -> str:
        return self._codec.decode([token])

    def _remember(self, slot: int) -> None:
        """Save the keys and values of a finished sequence for prompts that continue it."""
        sequence = self._running[slot]
        ids = (*sequence.request.job.prompt, *sequence.transcript.ids[:-1])
        self._prefixes.save(self._cache, slot, ids)

    def _remove(self, slot: int) -> None:
        """Free a slot by moving the last sequence into it."""
        last = self._running.pop()
        source = len(self._running)
        if slot < source:
            self._running[slot] = last
            self._cache.copy(slot, self._cache, source, int(self._positions[source]))
            self._sampler.move(source, slot)
            for values in (self._tokens, self._positions, self._steps):
                values[slot] = values[source]

    def _drop(self, request: _Request) -> None:
        """Stop all sequences of a request."""
        if self._waiting and self._waiting[0].request is request:
            self._filled = None
        self._waiting = deque(s for s in self._waiting if s.request is not request)
        for slot in reversed(range(len(self._running))):
            if self._running[slot].request is request:
                self._remove(slot)


class _Request:
    """A job, and the pieces that its caller has not yet taken."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seed = random.getrandbits(62) if job.seed is None else job.seed
        self.unfinished = job.n
        self.cached = 0
        self.scored: list[TokenLogprob] = []
        """The log-probabilities of the prompt's tokens, if the job asks for them."""
        self.pieces: list[Piece] = []
        self._ready = asyncio.Event()
        self._error: Exception | None = None

    def put(self, piece: Piece) -> None:
        self.unfinished -= piece.finish is not None
        self.pieces.append(piece)
        self._ready.set()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._ready.set()

    async def next(self) -> list[Piece]:
        await self._ready.wait()
        self._ready.clear()
        if self._error is not None:
            raise self._error
        pieces, self.pieces = self.pieces, []
        return pieces


class _Sequence:
    """One choice of a request."""

    def __init__(self, request: _Request, choice: int, codec: Codec, ends: frozenset[int]) -> None:
        self.request = request
        self.texts = codec.bytes if request.job.keep_special else codec.texts
        self.transcript = Transcript(request.job, choice, ends)
        self._choice = choice

    def luck(self) -> Floats:
        return luck(self.request.seed + self._choice, self.request.job.max_tokens)

    def send_new(self) -> None:
        """Send the text since the last call to the request."""
        piece = self.transcript.take(self.request.cached)
        if self.request.scored:
            piece = replace(piece, prompt_logprobs=tuple(self.request.scored))
        self.request.put(piece)
        self.request.cached = 0
