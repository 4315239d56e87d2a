"""Drawing the next token of many sequences at once, each by its own settings and its own luck."""

from __future__ import annotations

import numpy as np

from collab.pocket.model import Floats, Ints
from collab.wire import Job


class Sampler:
    """The settings of the sequences in the slots from 0 on."""

    def __init__(self, slots: int, steps: int) -> None:
        self.temperature = np.ones((slots, 1), np.float32)
        """1 for a greedy sequence."""
        self.greedy = np.zeros(slots, np.bool_)
        self.top_p = np.ones((slots, 1), np.float32)
        self.top_k: Ints = np.zeros((slots, 1), np.int64)
        """More than any vocabulary where it is off."""
        self.min_p = np.zeros((slots, 1), np.float32)
        self.luck: Floats = np.zeros((slots, steps), np.float32)
        """A number in [0, 1) for each token that a sequence will draw."""

    def set(self, slot: int, job: Job, luck: Floats) -> None:
        """Give a slot the settings of a job."""
        self.greedy[slot] = job.temperature == 0
        self.temperature[slot] = job.temperature or 1
        self.top_p[slot], self.min_p[slot] = job.top_p, job.min_p
        self.top_k[slot] = job.top_k if job.top_k > 0 else np.iinfo(np.int64).max
        self.luck[slot, : len(luck)] = luck

    def move(self, source: int, target: int) -> None:
        """Give a slot the settings of another one."""
        kept = (self.temperature, self.greedy, self.top_p, self.top_k, self.min_p, self.luck)
        for settings in kept:
            settings[target] = settings[source]

    def draw(self, logits: Floats, slots: slice, steps: Ints) -> Ints:
        """Draw one token a row (rows × vocabulary); `steps` counts each row's earlier tokens.

        A token is kept by `min_p`, then `top_k`, then `top_p`, as in vLLM.
        """
        greedy = self.greedy[slots]
        if greedy.all():
            return _likeliest(logits)
        chances = np.divide(logits, self.temperature[slots])
        np.subtract(chances, chances.max(-1, keepdims=True), out=chances)
        np.exp(chances, out=chances)
        chances *= chances >= self._least(chances, slots)
        heap = np.cumsum(chances, axis=-1)
        luck = self.luck[slots][np.arange(len(steps)), steps]
        aim = np.minimum(luck * heap[:, -1], np.nextafter(heap[:, -1], np.float32(0)))
        drawn: Ints = np.count_nonzero(heap <= aim[:, None], axis=-1)
        return np.where(greedy, _likeliest(logits), drawn) if greedy.any() else drawn

    def _least(self, chances: Floats, slots: slice) -> Floats:
        """Return the smallest chance that is kept, a row; the largest chance is 1."""
        least, top_p, top_k = self.min_p[slots], self.top_p[slots], self.top_k[slots]
        every = top_k >= chances.shape[1]
        if every.all() and (top_p >= 1).all():
            return least
        ranked = np.sort(chances, axis=-1)[:, ::-1]
        ranked = ranked * (ranked >= least)
        ranked *= np.arange(chances.shape[1]) < top_k
        heap = np.cumsum(ranked, axis=-1)
        inside = heap - ranked < top_p * heap[:, -1:]
        counted = np.count_nonzero(inside, axis=-1, keepdims=True)
        counted = np.where(top_p >= 1, np.minimum(top_k, chances.shape[1]), counted)
        return np.maximum(least, np.take_along_axis(ranked, counted - 1, axis=-1))


def _likeliest(logits: Floats) -> Ints:
    best: Ints = logits.argmax(-1)
    return best


def luck(seed: int, count: int) -> Floats:
    """Return the numbers in [0, 1) that a seed stands for; a longer row only goes on."""
    generator = np.random.Generator(np.random.Philox(key=seed % 2**64))
    return generator.random(count, np.float32)
