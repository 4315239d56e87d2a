"""One episode as plain data for a page: its units in order, each with what happened to it later.

The log lists events. Readers want the text in the order in which it grew, with struck units marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from collab.core.trajectory import (
    Asked,
    Chose,
    Closed,
    Edited,
    Ended,
    Event,
    Forked,
    Rewound,
    Scored,
    Stopped,
    Trajectory,
    Unit,
    Wrote,
)
from collab.episode.engine import Episode
from collab.errors import CollabError
from collab.runs.jsonl import Plain

PriceTable = Mapping[str, Mapping[str, float | None]]
"""The price of each seat's tokens (US dollars per million): `prompt` and `completion`."""
MILLION = 1e6


class PromptSource(Protocol):
    """Rebuilds the prompts that authors got."""

    def __call__(self, question: str, unit: Unit, before: Trajectory) -> str:
        """Return the prompt of a unit.

        Raises:
            CollabError: The prompt cannot be rebuilt with certainty.
        """
        ...


def episode_json(
    episode: Episode,
    prices: PriceTable | None = None,
    reads: PromptSource | None = None,
    question: str = "",
) -> Plain:
    """Return an episode as plain data: `case`, `finish`, `sampled`, `stored` and its `blocks`.

    A block is a unit (`is` = "unit"; `struck` says why it was struck), a fork with its branches, or
    a remark on another event. `money` of a unit is its highest possible price, because the log does
    not say how much of its prompt was cached. With `reads`, `prompt` of a unit is the prompt of its
    author: the number of characters that it shares with the seat's previous prompt, and the rest.
    If the prompt is uncertain, `unsure` says why.

    Args:
        episode: The episode.
        prices: The price of each seat's tokens.
        reads: Rebuilds the prompts.
        question: The id of the question.
    """
    return {
        "case": episode.case,
        "finish": episode.finish,
        "sampled": episode.sampled,
        "stored": episode.stored,
        "blocks": blocks(episode.trajectory.log, prices, reads, question),
    }


def blocks(
    log: Iterable[Event],
    prices: PriceTable | None = None,
    reads: PromptSource | None = None,
    question: str = "",
) -> list[Plain]:
    """Return the blocks of a log, which may be of an episode in progress."""
    reader = _LogReader(prices or {}, partial(reads, question) if reads else None)
    reader.add(log)
    return reader.blocks


def prompts(blocks: Iterable[Plain], sent: dict[str, str] | None = None) -> Iterator[str]:
    """Yield the prompts of the blocks in order; those of branches come at their fork."""
    sent = {} if sent is None else sent
    for block in blocks:
        if "prompt" in block:
            shared, rest = block["prompt"]
            sent[block["author"]] = sent.get(block["author"], "")[:shared] + rest
            yield sent[block["author"]]
        for branch in block.get("branches", ()):
            yield from prompts(branch["blocks"], dict(sent))


@dataclass
class _LogReader:
    """A reader of a log that keeps track of the blocks that are not struck."""

    prices: PriceTable
    reads: Callable[[Unit, Trajectory], str] | None = None
    now: Trajectory = Trajectory()  # noqa: RUF009 - a frozen value
    """The trajectory before the next event."""
    sent: dict[str, str] = field(default_factory=dict)
    """The last prompt of each seat."""
    blocks: list[Plain] = field(default_factory=list)
    living: list[Plain] = field(default_factory=list)
    forked: Sequence[_LogReader] = ()
    """The branches of the last fork."""

    def add(self, log: Iterable[Event]) -> None:
        for event in log:
            match event:
                case Wrote(unit):
                    self._unit(unit)
                case Edited():
                    self._edit(event)
                case Rewound(to, why):
                    self._strike(self.living[to:], why or "rewound")
                    del self.living[to:]
                    self._remark("rewound", f"back to unit {to}", why)
                case Forked(branches, why):
                    self.forked = [self._branch(one.log, one.empty) for one in branches]
                    played = [
                        {"finish": one.finish, "empty": one.empty, "blocks": reader.blocks}
                        for one, reader in zip(branches, self.forked, strict=True)
                    ]
                    self.blocks.append({"is": "fork", "why": why, "branches": played})
                case Chose(branch, why):
                    self._choose(branch, why)
                case _:
                    self._note(event)
            if self.reads is not None:
                self.now = self.now.add(event)

    def _unit(self, unit: Unit) -> None:
        read = unit.seams
        block: Plain = {
            "is": "unit",
            "author": unit.author,
            "kind": unit.kind,
            "phase": unit.phase,
            "why": unit.why,
            "tokens": unit.tokens,
            "text": unit.text,
        }
        if unit.top20_entropy is not None:
            block["entropy"] = round(unit.top20_entropy, 3)
        if read is not None:
            block["read"] = [read.tokens, read.foreign, read.changed]
        if (money := self._money(unit)) is not None:
            block["money"] = money
        if self.reads is not None and unit.kind == "generated" and unit.seams is not None:
            block |= self._prompt(unit, self.reads)
        self.blocks.append(block)
        if unit.phase == "thinking":
            self.living.append(block)

    def _prompt(self, unit: Unit, reads: Callable[[Unit, Trajectory], str]) -> Plain:
        try:
            prompt = reads(unit, self.now)
        except CollabError as error:
            return {"unsure": str(error)}
        before = self.sent.get(unit.author, "")
        self.sent[unit.author] = prompt
        shared = _shared(before, prompt)
        return {"prompt": [shared, prompt[shared:]]}

    def _money(self, unit: Unit) -> float | None:
        price = self.prices.get(unit.author, {})
        out, read = price.get("completion") or 0, price.get("prompt") or 0
        if unit.kind != "generated" or not (out or read):
            return None
        prompt = unit.seams.tokens if unit.seams else 0
        return (prompt * read + unit.tokens * out) / MILLION

    def _edit(self, edited: Edited) -> None:
        old = self.living[edited.unit]
        self._strike([old], edited.why or "struck")
        if edited.text is None:
            del self.living[edited.unit]
            self._remark("struck", f"unit {edited.unit} struck", edited.why)
            return
        new = {
            **{key: old[key] for key in ("is", "phase")},
            "author": edited.seat or old["author"],
            "kind": "edited",
            "why": edited.why,
            "tokens": edited.tokens,
            "text": edited.text,
        }
        here = next((n for n, block in enumerate(self.blocks) if block is old), None)
        self.blocks.insert(len(self.blocks) if here is None else here + 1, new)
        self.living[edited.unit] = new

    def _strike(self, blocks: Iterable[Plain], why: str) -> None:
        """Mark blocks as struck; a branch leaves its parent's blocks unchanged."""
        for block in blocks:
            if any(block is own for own in self.blocks):
                block["struck"] = why

    def _branch(self, log: Sequence[Event], empty: bool) -> _LogReader:
        branch = _LogReader(
            self.prices,
            self.reads,
            self.now.start(empty),
            dict(self.sent),
            living=[] if empty else list(self.living),
        )
        branch.add(log)
        return branch

    def _choose(self, branch: int, why: str) -> None:
        taken = self.forked[branch].living
        self._remark("chose", f"branch {branch + 1} continues", why)
        gone = (b for b in self.living if not any(b is kept for kept in taken))
        self._strike(gone, f"replaced by branch {branch + 1}")
        self.living = list(taken)

    def _note(self, event: Event) -> None:
        match event:
            case Ended(seat):
                self._remark("ended", f"{seat} ended its thinking", "")
            case Closed(seat, why):
                self._remark("closed", f"thinking closed, {seat} answers", why)
            case Stopped(why):
                self._remark("stopped", "stopped", why)
            case Asked(seat, question, reply):
                self.blocks.append(
                    {"is": "asked", "author": seat, "question": question, "reply": reply}
                    | {"tokens": event.tokens, "chances": dict(event.chances)}
                )
            case Scored(seat, text, logprob, tokens):
                remark = (
                    f"{seat} rates a text of {tokens} tokens: log-probability {logprob:.2f} nats"
                )
                self.blocks.append({"is": "scored", "text": remark, "of": text, "author": seat})

    def _remark(self, kind: str, text: str, why: str) -> None:
        self.blocks.append({"is": kind, "text": text, "why": why})


def _shared(one: str, other: str) -> int:
    """Count the leading characters that two texts share."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
