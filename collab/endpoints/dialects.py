"""Dialects: how a prompt lets a model continue a partial thought inside its think block.

Both dialects here render the same prompt for APIs that take a raw prompt: the question in the
model's chat template, an open think block, the living units and, once the thinking is closed, the
reply so far. `IdsDialect` sends token ids, so that a model's own tokens return exactly as it
produced them. `TextDialect` sends text, which the server encodes again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby, pairwise
from typing import Protocol

from collab.core.sampling import Prompt
from collab.core.trajectory import Message, Phase, Seams, Trajectory, Unit
from collab.endpoints.request_format import Completions, RequestFormat
from collab.endpoints.tokens import SEAM, Tokenizer
from collab.errors import ConfigError
from collab.templates.template import Template

HEADS = 256
"""How many questions' heads a dialect remembers."""
RUNS = 512
"""How many encoded heads and runs of others' text a dialect remembers."""
JOINTS = 4096
"""How many compared seams a dialect remembers."""


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """A prompt and its seams."""

    prompt: Prompt
    seams: Seams


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a prompt whose ids have one origin."""

    ids: tuple[int, ...]
    author: str | None = None
    """Whose own ids they are; None where they were encoded here."""
    foreign: bool = False
    """Whether they are a run of others' text."""


class _Runs:
    """Encodes runs of others' text, each as one piece: one that has grown is encoded at its end.

    A thread may encode one while the loop encodes another.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Return the ids of all the texts in a row."""
        whole = "".join(texts)
        ids = self._known.pop(whole, None)
        if ids is None:
            ids = self._grown(whole, texts)
        self._known[whole] = ids
        if len(self._known) > RUNS:
            self._known.popitem(last=False)
        return ids

    def _grown(self, whole: str, texts: Sequence[str]) -> tuple[int, ...]:
        end = len(whole)
        for text in reversed(texts):
            end -= len(text)
            if (ids := self._known.get(whole[:end])) is not None:
                return self._tokenizer.grow(whole[:end], ids, whole[end:])
        return self._tokenizer.encode(whole)


class Dialect(Protocol):
    """One way to let a model continue a thought."""

    @property
    def name(self) -> str:
        """The dialect's name in configs, profiles and manifests."""
        ...

    @property
    def form(self) -> RequestFormat:
        """How the API that takes it is spoken to."""
        ...

    @property
    def continues(self) -> bool:
        """Whether a thought is continued; without it, a seat advises and answers."""
        ...

    @property
    def close_ids(self) -> tuple[int, ...]:
        """The ids of the close of the thinking; empty where the dialect knows no tokens."""
        ...

    def prompt(
        self, messages: Sequence[Message], trajectory: Trajectory, phase: Phase, seat: str
    ) -> PromptLayout:
        """Render the prompt that `seat`'s model continues, without the signals of other seats."""
        ...


class Frame:
    """A question in its chat template, up to and including the open think tag."""

    def __init__(
        self,
        template: Template,
        think_open: str = "<think>\n",
        think_close: str = "</think>",
        force_answer: str | None = None,
        double_bos: bool = False,
    ) -> None:
        self.template = template
        self.double_bos = double_bos
        self.think_open = think_open
        self.think_close = think_close
        self.force_answer = think_close if force_answer is None else force_answer
        self._heads = lru_cache(HEADS)(self._render)

    def head(self, messages: Sequence[Message]) -> str:
        """Return everything before the first unit.

        The rendered text shows whether the template opens the think block.

        Raises:
            ConfigError: The template closes the block again, or opens more than one.
        """
        return self._bos() + self._heads(tuple(messages))

    def opens(self, messages: Sequence[Message]) -> bool:
        """Say whether the template's generation prompt opens the think block."""
        return self.template.render(messages).rstrip().endswith(self.think_open.strip())

    def _bos(self) -> str:
        """Return a begin-of-sequence token more, where it is asked for."""
        if not self.double_bos:
            return ""
        bos = self.template.specials.get("bos_token")
        if not bos:
            raise ConfigError(
                "double_bos needs a tokenizer with a bos_token, and this one has none"
            )
        return bos

    def close(self, trajectory: Trajectory) -> str:
        """Return the text between the thinking and the answer."""
        own = self.think_close if trajectory.closed_by else ""
        return own or self.force_answer

    def _render(self, messages: tuple[Message, ...]) -> str:
        before = self.template.render(messages, add_generation_prompt=False)
        text = self.template.render(messages)
        tag = self.think_open.strip()
        if not tag:
            return text  # the model has no block: its turn is its thinking
        turn = text.removeprefix(before)
        if not turn.rstrip().endswith(tag):
            turn, text = turn + self.think_open, text + self.think_open
        if self.think_close.strip() in turn:
            raise ConfigError(
                f"the chat template starts the answer with a closed think block ({turn!r}); "
                "set the template variable that turns thinking on (enable_thinking: true)"
            )
        if turn.count(tag) != 1:
            raise ConfigError(
                f"the chat template opens {turn.count(tag)} think blocks ({turn!r}), not one; "
                f"set think_open (now {self.think_open!r}) to the tag that the template writes"
            )
        return text


class TextDialect:
    """One string: the rendered question and the trajectory."""

    close_ids: tuple[int, ...] = ()
    continues = True

    def __init__(self, frame: Frame, form: RequestFormat | None = None, name: str = "text") -> None:
        self.frame, self.name = frame, name
        self.form = form or Completions()

    def prompt(
        self, messages: Sequence[Message], trajectory: Trajectory, phase: Phase, seat: str
    ) -> PromptLayout:
        """Lay out the text that `seat`'s model continues."""
        text = self.frame.head(messages) + text_of(visible(trajectory.units, seat))
        if phase == "answer":
            text += self.frame.close(trajectory) + text_of(visible(trajectory.reply, seat))
        return PromptLayout(text, Seams(0, changed=None))


class IdsDialect:
    """Prompts of token ids: the reader's own tokens are never encoded again.

    Text without ids of this tokenizer is encoded in pieces: the head, each unbroken run of such
    text, and the close. A model that writes on its own reads exactly the tokens that it wrote.
    """

    continues = True

    def __init__(
        self,
        frame: Frame,
        tokenizer: Tokenizer,
        form: RequestFormat | None = None,
        name: str = "ids",
    ) -> None:
        self.frame, self.name = frame, name
        self.form = form or Completions()
        self.tokenizer = tokenizer
        self.close_ids = tokenizer.encode(frame.think_close)
        self._encode = lru_cache(RUNS)(tokenizer.encode)
        self._runs = _Runs(tokenizer)
        self._seam = lru_cache(JOINTS)(tokenizer.seam)

    def prompt(
        self, messages: Sequence[Message], trajectory: Trajectory, phase: Phase, seat: str
    ) -> PromptLayout:
        """Lay out the ids that `seat`'s model continues."""
        parts = [_Part(self._encode(self.frame.head(messages)))]
        parts += self._body(trajectory.units, seat)
        if phase == "answer":
            parts += [_Part(self._encode(self.frame.close(trajectory)))]
            parts += self._body(trajectory.reply, seat)
        ids = tuple(chain.from_iterable(part.ids for part in parts))
        runs = [len(part.ids) for part in parts if part.foreign]
        changed = sum(self._seam(*tokens) for tokens in _joints(parts))
        return PromptLayout(ids, Seams(len(ids), len(runs), sum(runs), changed))

    def _body(self, units: Sequence[Unit], seat: str) -> Iterator[_Part]:
        """Yield the ids of `units`, each author's own in one part, each other run in one."""
        for author, run in groupby(visible(units, seat), key=self._author):
            if author is not None:
                yield _Part(tuple(chain.from_iterable(unit.ids or () for unit in run)), author)
            elif any(texts := [unit.text for unit in run]):
                yield _Part(self._runs.encode(texts), foreign=True)

    def _author(self, unit: Unit) -> str | None:
        """Return the tokenizer of a unit's ids; None if it is not this one."""
        known = unit.ids is not None and unit.tokenizer == self.tokenizer.fingerprint
        return unit.author if known else None


def _joints(parts: Iterable[_Part]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield the tokens on both sides of each seam."""
    for left, right in pairwise(part for part in parts if part.ids):
        yield left.ids[-SEAM:], right.ids[:SEAM]


def visible(units: Sequence[Unit], seat: str) -> list[Unit]:
    """Return the units that a seat reads: not the signals of others."""
    return [unit for unit in units if unit.kind != "signal" or unit.author == seat]


def text_of(units: Iterable[Unit]) -> str:
    """Return the text of units in a row."""
    return "".join(unit.text for unit in units)
