"""Drawing the next token of many sequences at once, each by its own settings and its own luck."""

from __future__ import annotations

import numpy as np

from collab.pocket.model import Floats, Ints
from collab.wire import Job

FEW = 32
"""The nucleus is looked for among so many of the likeliest tokens before all are sorted."""


class Sampler:
    """The settings of the sequences in the slots from 0 on."""

    def __init__(self, slots: int, steps: int) -> None:
        self.temperature: Floats = np.ones(slots, np.float32)
        """1 for a greedy sequence."""
        self.greedy = np.zeros(slots, np.bool_)
        self.top_p: Floats = np.ones(slots, np.float32)
        self.top_k: Ints = np.zeros(slots, np.int64)
        """0 where it is off."""
        self.min_p: Floats = np.zeros(slots, np.float32)
        self.luck: Floats = np.zeros((slots, steps), np.float32)
        """A number in [0, 1) for each token that a sequence will draw."""

    def set(self, slot: int, job: Job, luck: Floats) -> None:
        """Give a slot the settings of a job."""
        self.greedy[slot] = job.temperature == 0
        self.temperature[slot] = job.temperature or 1
        self.top_p[slot], self.min_p[slot] = job.top_p, job.min_p
        self.top_k[slot] = max(job.top_k, 0)
        self.luck[slot, : len(luck)] = luck

    def move(self, source: int, target: int) -> None:
        """Give a slot the settings of another one."""
        kept = (self.temperature, self.greedy, self.top_p, self.top_k, self.min_p, self.luck)
        for settings in kept:
            settings[target] = settings[source]

    def draw(self, logits: Floats, slots: slice, steps: Ints) -> Ints:
        """Draw one token a row (of vocabulary × rows); `steps` counts each row's earlier tokens.

        A token is kept by `min_p`, then `top_k`, then `top_p`, as in vLLM. Sums run in the order of
        the vocabulary, one after the other, so that no row's depends on the others.
        """
        greedy = self.greedy[slots]
        if greedy.all():
            return _likeliest(logits)
        chances = np.divide(logits, self.temperature[slots])
        np.subtract(chances, np.maximum.reduce(chances, axis=0), out=chances)
        np.exp(chances, out=chances)
        self._filter(chances, slots)
        heap = np.add.accumulate(chances, axis=0)
        luck = self.luck[slots][np.arange(len(steps)), steps]
        aim = np.minimum(luck * heap[-1], np.nextafter(heap[-1], np.float32(0)))
        drawn: Ints = np.count_nonzero(heap <= aim, axis=0)
        return np.where(greedy, _likeliest(logits), drawn) if greedy.any() else drawn

    def _filter(self, chances: Floats, slots: slice) -> None:
        """Set to zero what is not kept; the largest chance of each row is 1."""
        min_p, top_k, top_p = self.min_p[slots], self.top_k[slots], self.top_p[slots]
        if min_p.any():
            chances *= chances >= min_p
        for row in np.flatnonzero(top_k):
            least = np.sort(chances[:, row])[-min(top_k[row], len(chances))]
            chances[:, row] *= chances[:, row] >= least
        if (top_p < 1).any():
            aim = top_p * np.add.accumulate(chances, axis=0)[-1]
            chances *= chances >= np.where(top_p < 1, _edge(chances, aim), np.float32(0))


def luck(seed: int, count: int) -> Floats:
    """Return the numbers in [0, 1) that a seed stands for; a longer row only goes on."""
    generator = np.random.Generator(np.random.Philox(key=seed % 2**64))
    return generator.random(count, np.float32)


def _edge(chances: Floats, aim: Floats) -> Floats:
    """Return the chance of each row's last token that is needed to sum up to `aim`."""
    rows = np.ascontiguousarray(chances.T)
    few = min(FEW, rows.shape[1])
    ranked = np.sort(np.partition(rows, -few, axis=-1)[:, -few:], axis=-1)[:, ::-1]
    heap = np.add.accumulate(ranked, axis=-1)
    edge = _last(ranked, heap, aim)
    more = np.flatnonzero(heap[:, -1] < aim)
    if len(more):
        ranked = np.sort(rows[more], axis=-1)[:, ::-1]
        edge[more] = _last(ranked, np.add.accumulate(ranked, axis=-1), aim[more])
    return edge


def _last(ranked: Floats, heap: Floats, aim: Floats) -> Floats:
    """Return the first of the ranked chances with which the sum reaches `aim`, else the last."""
    short = np.count_nonzero(heap[:, :-1] < aim[:, None], axis=-1)
    edge: Floats = ranked[np.arange(len(ranked)), short]
    return edge


def _likeliest(logits: Floats) -> Ints:
    best: Ints = logits.T.argmax(-1)
    return best
