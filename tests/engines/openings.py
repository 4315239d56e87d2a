"""Openings of a shipped checkpoint, steered as in recoverability, and how two servers go on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Self

import numpy as np

from collab import Decision, Stop, View, Write
from collab.core.boundary import Answer
from collab.core.sampling import Request, Sampling
from collab.core.trajectory import Question, Recording, Trajectory
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Frame, IdsDialect, TextDialect
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, play_case
from collab.episode.reasoner import Recorded
from collab.episode.team import Team
from collab.pocket.model import KeyValueCache, TokenRows
from collab.pocket.model import PocketNetwork as Weights
from collab.pocket.server import find
from collab.policies.distractor import Distractor
from collab.questions import Pocket, PromptFormat
from collab.reasoners.model import Model
from collab.store.store import Store
from collab.templates.template import Template

NAME = "plain"
FOLDER = find(NAME)
TOKENIZER = Tokenizer.load(FOLDER)
FRAME = Frame(Template.load(FOLDER))
IDS, TEXT = IdsDialect(FRAME, TOKENIZER), TextDialect(FRAME)
CONTEXT = 1024

ORIGINALS = 40
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)
RIVALS = 4
OPENINGS = ORIGINALS * len(SHARES) * RIVALS
STEPS = range(1, RIVALS + 1)
TIE = 1e-3
"""Logits nearer than this may come in either order: the two servers add up in different orders."""
GREEDY = Sampling(temperature=0)
LONGEST = 320
"""The most that is written on an opening (tokens)."""


class OpeningAlone(Distractor):
    """Lay the opening, and stop where the model would go on."""

    async def decide(self, view: View) -> Decision:
        decision = await super().decide(view)
        goes_on = isinstance(decision, Write) and decision.until is None
        return Stop("the opening stands") if goes_on else decision


def seated(endpoint: Endpoint, store: Store, sampling: Sampling) -> Model:
    name = f"{NAME} at {endpoint.url}"
    return Model(name, endpoint, IDS, TOKENIZER, store, sampling, context=CONTEXT)


def laid(question: Question, trajectory: Trajectory) -> tuple[int, ...]:
    prompt = IDS.prompt(question.messages, trajectory, "thinking", "main").prompt
    assert isinstance(prompt, tuple)
    return prompt


@dataclass(frozen=True)
class Bank:
    """What the pocket server wrote alone, and the openings made of it."""

    recordings: list[tuple[Question, Recording]]
    openings: list[tuple[Question, Trajectory]]

    @classmethod
    async def draw(cls, url: str, place: Path) -> Self:
        """Think on some questions, and put the begin of another's thought on every thought."""
        questions = Pocket(levels=("middle", "hard"), count=ORIGINALS, seed=7).load(PromptFormat())
        async with Endpoint(url, NAME, TOKENIZER) as endpoint, Store.open(place) as store:
            model = seated(endpoint, store, Sampling())
            drawn = await asyncio.gather(*(model.solo(asked, range(1), 600) for asked in questions))
        pairs = zip(questions, drawn, strict=True)
        closed = [(asked, solo) for asked, ((solo, _),) in pairs if solo.closed and solo.text]
        own = closed[:: len(closed) // ORIGINALS][:ORIGINALS]
        others = [own[(nth + by) % len(own)][1] for nth in range(len(own)) for by in STEPS]
        return cls(
            own,
            [
                (asked, await opening(asked, solo, rival, at))
                for nth, (asked, solo) in enumerate(own)
                for rival in others[nth * RIVALS : (nth + 1) * RIVALS]
                for at in SHARES
            ],
        )


async def opening(
    question: Question, own: Recording, rival: Recording | None, at: float
) -> Trajectory:
    team = Team({"main": Recorded(), "distractor": Recorded()})
    given = {"main": own} if rival is None else {"main": own, "distractor": rival}
    case = Case("opening", question, OpeningAlone(at=at), given)
    return (await play_case(case, team, until=Answer(), budget=CONTEXT)).trajectory


async def continued(
    endpoint: Endpoint, prompts: Sequence[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Let a server go on greedily, to its end of turn, with everything."""
    asked = [Request(NAME, prompt, GREEDY, LONGEST) for prompt in prompts]
    replies = await asyncio.gather(*(endpoint.complete(one, range(1), seed=0) for one in asked))
    return [one.ids or () for (one,) in replies]


def parted(
    weights: Weights, prompt: tuple[int, ...], ours: tuple[int, ...], theirs: tuple[int, ...]
) -> float | None:
    """Return by how much the best logit leads where two continuations part; None if they do not."""
    pairs = enumerate(zip_longest(ours, theirs))
    at, chosen = next(((at, pair) for at, pair in pairs if pair[0] != pair[1]), (0, None))
    if chosen is None:
        return None
    logits = next_logits(weights, prompt + ours[:at])
    second, best = np.argsort(logits)[-2:]
    assert set(chosen) == {best, second}, f"at token {at} of {ours} and {theirs}"
    return float(logits[best] - logits[second])


def next_logits(weights: Weights, ids: tuple[int, ...]) -> np.ndarray:
    """Compute the logits of the next token here."""
    rows = TokenRows(np.array(ids), np.arange(len(ids)), slice(0, 1))
    return np.asarray(weights.forward(rows, KeyValueCache(weights.shape), last=True)[-1])
