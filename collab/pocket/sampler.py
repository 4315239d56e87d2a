"""Drawing the next token of many sequences at once, each by its own settings and its own luck."""

from __future__ import annotations

import numpy as np

from collab.pocket.kernel import Floats
from collab.pocket.model import Ints
from collab.serving import Job

FEW = 32
"""The nucleus is looked for among so many of the likeliest tokens before all are sorted."""
GROUP = 32
"""Chances are summed in groups of this many, then group after group."""


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
        temperature = np.float32(job.temperature)
        self.greedy[slot] = temperature == 0
        self.temperature[slot] = temperature or 1
        self.top_p[slot], self.min_p[slot] = job.top_p, job.min_p
        self.top_k[slot] = max(job.top_k, 0)
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
        likeliest: Ints = logits.argmax(-1)
        greedy = self.greedy[slots]
        if greedy.all():
            return likeliest
        chances = np.zeros((len(logits), -(-logits.shape[1] // GROUP) * GROUP), np.float32)
        inside = chances[:, : logits.shape[1]]
        highest = logits[np.arange(len(logits)), likeliest]
        np.subtract(logits, highest[:, None], out=inside)
        np.divide(inside, self.temperature[slots, None], out=inside)
        np.exp(inside, out=inside)
        self._filter(chances, slots)
        drawn = _pick(chances, self.luck[slots][np.arange(len(steps)), steps])
        return np.where(greedy, likeliest, drawn) if greedy.any() else drawn

    def _filter(self, chances: Floats, slots: slice) -> None:
        """Set to zero what is not kept; the largest chance of each row is 1."""
        min_p, top_k, top_p = self.min_p[slots], self.top_k[slots], self.top_p[slots]
        if min_p.any():
            chances *= chances >= min_p[:, None]
        for row in np.flatnonzero(top_k):
            least = np.sort(chances[row])[-min(top_k[row], chances.shape[1])]
            chances[row] *= chances[row] >= least
        if (top_p < 1).any():
            edge = _edge(chances, top_p * _heap(chances)[:, -1])
            chances *= chances >= np.where(top_p < 1, edge, np.float32(0))[:, None]


def luck(seed: int, count: int) -> Floats:
    """Return the numbers in [0, 1) that a seed stands for; a longer row only goes on."""
    generator = np.random.Generator(np.random.Philox(key=seed % 2**64))
    return generator.random(count, np.float32)


def _heap(chances: Floats) -> Floats:
    """Return the sums of each row's groups, each with all groups before it."""
    groups = chances.reshape(-1, GROUP)
    sums = np.einsum("ij->i", groups).reshape(len(chances), -1)
    return np.add.accumulate(sums, axis=-1)


def _pick(chances: Floats, luck: Floats) -> Ints:
    """Return the token at the share `luck` of each row's sum: first its group, then its place."""
    heap, rows = _heap(chances), np.arange(len(chances))
    aim = _below(luck * heap[:, -1], heap[:, -1])
    group: Ints = (heap > aim[:, None]).argmax(-1)
    aim = aim - np.where(group > 0, heap[rows, group - 1], np.float32(0))
    within = np.add.accumulate(chances.reshape(len(chances), -1, GROUP)[rows, group], axis=-1)
    place: Ints = (within > _below(aim, within[:, -1])[:, None]).argmax(-1)
    return group * GROUP + place


def _below(values: Floats, limits: Floats) -> Floats:
    """Keep rounding from reaching a sum's very end, where no token is left."""
    return np.minimum(values, np.nextafter(limits, np.float32(0)))


def _edge(chances: Floats, aim: Floats) -> Floats:
    """Return the chance of each row's last token that is needed to sum up to `aim`."""
    few = min(FEW, chances.shape[1])
    edge, heap = _ranked(np.partition(chances, -few, axis=-1)[:, -few:], aim)
    more = np.flatnonzero(heap < aim)
    if len(more):
        edge[more], _ = _ranked(chances[more], aim[more])
    return edge


def _ranked(chances: Floats, aim: Floats) -> tuple[Floats, Floats]:
    """Return the chance with which the sum from the top reaches `aim`, else the last; the sum."""
    ranked = np.sort(chances, axis=-1)[:, ::-1]
    heap = np.add.accumulate(ranked, axis=-1)
    short = np.count_nonzero(heap[:, :-1] < aim[:, None], axis=-1)
    return ranked[np.arange(len(ranked)), short], heap[:, -1]
