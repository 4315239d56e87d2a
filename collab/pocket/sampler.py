"""Draw the next token of many sequences at once, each with its own settings and random numbers."""

from __future__ import annotations

import numpy as np

from collab.pocket.kernel import Floats
from collab.pocket.model import Ints
from collab.serving import Job

FEW = 32
"""The nucleus is searched among this many of the likeliest tokens before all are sorted."""
GROUP = 32
"""Probabilities are summed within groups of this size, then over the groups in order."""


class Sampler:
    """The settings of the sequences in the slots from 0 on."""

    def __init__(self, slots: int, steps: int) -> None:
        self.temperature: Floats = np.ones(slots, np.float32)
        """1 for a greedy sequence."""
        self.greedy = np.zeros(slots, np.bool_)
        self.top_p: Floats = np.ones(slots, np.float32)
        self.top_k: Ints = np.zeros(slots, np.int64)
        """0 is off."""
        self.min_p: Floats = np.zeros(slots, np.float32)
        self.luck: Floats = np.zeros((slots, steps), np.float32)
        """A random number in [0, 1) for each token that a sequence may draw."""

    def set(self, slot: int, job: Job, luck: Floats) -> None:
        """Set the settings of a slot to those of a job."""
        temperature = np.float32(job.temperature)
        self.greedy[slot] = temperature == 0
        self.temperature[slot] = temperature or 1
        self.top_p[slot], self.min_p[slot] = job.top_p, job.min_p
        self.top_k[slot] = max(job.top_k, 0)
        self.luck[slot, : len(luck)] = luck

    def move(self, source: int, target: int) -> None:
        """Copy the settings of a slot to another one."""
        arrays = (self.temperature, self.greedy, self.top_p, self.top_k, self.min_p, self.luck)
        for settings in arrays:
            settings[target] = settings[source]

    def draw(self, logits: Floats, slots: slice, steps: Ints) -> Ints:
        """Draw one token per row of logits (rows × vocabulary).

        `steps` holds the number of earlier tokens of each row. The filters apply in vLLM's order:
        `min_p`, `top_k`, `top_p`.
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
        """Set the chances of filtered tokens to zero; the largest chance of each row is 1."""
        min_p, top_k, top_p = self.min_p[slots], self.top_k[slots], self.top_p[slots]
        if min_p.any():
            chances *= chances >= min_p[:, None]
        for row in np.flatnonzero(top_k):
            least = np.sort(chances[row])[-min(top_k[row], chances.shape[1])]
            chances[row] *= chances[row] >= least
        if (top_p < 1).any():
            edge = _edge(chances, top_p * _cumulated(chances)[:, -1])
            chances *= chances >= np.where(top_p < 1, edge, np.float32(0))[:, None]


def luck(seed: int, count: int) -> Floats:
    """Return the random numbers of a seed in [0, 1); a longer row starts like a shorter one."""
    generator = np.random.Generator(np.random.Philox(key=seed % 2**64))
    return generator.random(count, np.float32)


def _cumulated(chances: Floats) -> Floats:
    """Return the cumulative sums over each row's groups."""
    groups = chances.reshape(-1, GROUP)
    sums = np.einsum("ij->i", groups).reshape(len(chances), -1)
    return np.add.accumulate(sums, axis=-1)


def _pick(chances: Floats, luck: Floats) -> Ints:
    """Return the token at the share `luck` of each row's sum: find its group, then the token."""
    heap, rows = _cumulated(chances), np.arange(len(chances))
    aim = _below(luck * heap[:, -1], heap[:, -1])
    group: Ints = (heap > aim[:, None]).argmax(-1)
    aim = aim - np.where(group > 0, heap[rows, group - 1], np.float32(0))
    within = np.add.accumulate(chances.reshape(len(chances), -1, GROUP)[rows, group], axis=-1)
    place: Ints = (within > _below(aim, within[:, -1])[:, None]).argmax(-1)
    return group * GROUP + place


def _below(values: Floats, limits: Floats) -> Floats:
    """Keep values below a sum, which rounding might reach, because no token is left there."""
    return np.minimum(values, np.nextafter(limits, np.float32(0)))


def _edge(chances: Floats, aim: Floats) -> Floats:
    """Return the chance of the last token that each row needs to reach the sum `aim`."""
    few = min(FEW, chances.shape[1])
    edge, heap = _ranked(np.partition(chances, -few, axis=-1)[:, -few:], aim)
    more = np.flatnonzero(heap < aim)
    if len(more):
        edge[more], _ = _ranked(chances[more], aim[more])
    return edge


def _ranked(chances: Floats, aim: Floats) -> tuple[Floats, Floats]:
    """Return the chance at which the sum from the top reaches `aim` (or the last), and the sum."""
    ranked = np.sort(chances, axis=-1)[:, ::-1]
    heap = np.add.accumulate(ranked, axis=-1)
    short = np.count_nonzero(heap[:, :-1] < aim[:, None], axis=-1)
    return ranked[np.arange(len(ranked)), short], heap[:, -1]
