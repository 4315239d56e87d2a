"""Which questions of a set are asked: those that pass a filter, a subset of them, one shard."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

from pydantic import BeforeValidator, Field, field_validator

from collab.core.settings import Settings
from collab.core.trajectory import Json, Question
from collab.errors import ConfigError
from collab.questions.cohort import Cohort
from collab.questions.prompt import PromptFormat

RUNS = Path("runs")
SHARD = re.compile(r"([1-9]\d*)/([1-9]\d*)")


@runtime_checkable
class QuestionSet(Protocol):
    """Whatever has questions."""

    def load(self, prompt: PromptFormat, runs: Path = RUNS) -> list[Question]:
        """Return the questions, each with the messages that ask it.

        Args:
            prompt: What the run says around them.
            runs: Where a set may note what later loads must find again, such as a revision.
        """
        ...

    def origin(self, runs: Path = RUNS) -> Json:
        """Say where the questions come from, so exactly that they could be had again."""
        ...


def _texts(value: object) -> object:
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(str(one) for one in values)


Values = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class Questions(Settings, ABC):
    """The base of question sets: the set's own prompt, and a choice among its questions."""

    prompt: PromptFormat = PromptFormat()
    """What is said around its questions if the run says nothing else."""
    cohort: Path | None = None
    """A file that `collab cohort` wrote: ask the questions in it alone."""
    where: dict[str, Values] = Field(default_factory=dict)
    """The values that a label may have, such as level: [4, 5]; other questions are left out."""
    take: int | None = Field(default=None, ge=1)
    """Ask only so many, chosen by content: 50 are among the 100, in any run."""
    shard: str | None = None
    """i/n: the i-th of n parts that have no question in common and all together."""

    @field_validator("shard")
    @classmethod
    def _numbered(cls, shard: str | None) -> str | None:
        found = SHARD.fullmatch(shard) if shard is not None else None
        if shard is not None and (found is None or int(found[1]) > int(found[2])):
            raise ValueError(f"shard {shard!r} is none of 1/n, 2/n … n/n, such as 1/4")
        return shard

    def load(self, prompt: PromptFormat, runs: Path = RUNS) -> list[Question]:
        """Return the chosen questions, in the order of the set.

        Raises:
            ConfigError: They cannot be read, or none is left.
        """
        questions = self.every(prompt.over(self.prompt), runs)
        kept = self._shard(self._take(self._filter(self._frozen(questions))))
        if questions and not kept:
            raise ConfigError(f"none of {len(questions)} questions is left: widen where or shard")
        chosen = {question.id for question in kept}
        return [question for question in questions if question.id in chosen]

    @abstractmethod
    def every(self, prompt: PromptFormat, runs: Path) -> list[Question]:
        """Return all questions of the set; ids are unique."""

    @abstractmethod
    def origin(self, runs: Path = RUNS) -> Json:
        """Say where the questions come from."""

    def _frozen(self, questions: Sequence[Question]) -> Sequence[Question]:
        if self.cohort is None:
            return questions
        ids = set(Cohort.read(self.cohort).questions)
        if strange := ids - {question.id for question in questions}:
            raise ConfigError(
                f"questions.cohort: {len(strange)} of {len(ids)} questions in "
                f"{str(self.cohort)!r} are not in this set, such as {min(strange)!r}; ask the set "
                "that its runs asked, with the same settings"
            )
        return [question for question in questions if question.id in ids]

    def _filter(self, questions: Sequence[Question]) -> Sequence[Question]:
        for label, values in self.where.items():
            has = {question.labels[label] for question in questions if label in question.labels}
            if not has:
                known = sorted({name for question in questions for name in question.labels})
                raise ConfigError(
                    f"questions.where: no question has a label {label!r} "
                    f"(labels: {', '.join(known)})"
                )
            if strange := set(values) - has:
                raise ConfigError(
                    f"questions.where.{label}: no question has {min(strange)!r} "
                    f"(values: {', '.join(sorted(has)[:20])})"
                )
            questions = [one for one in questions if one.labels.get(label) in values]
        return questions

    def _take(self, questions: Sequence[Question]) -> Sequence[Question]:
        if self.take is not None and self.take > len(questions):
            raise ConfigError(
                f"questions.take={self.take}, but there are only {len(questions)} to take from"
            )
        return sorted(questions, key=_rank)[: self.take]

    def _shard(self, ranked: Sequence[Question]) -> Sequence[Question]:
        if self.shard is None:
            return ranked
        part, parts = map(int, self.shard.split("/"))
        return ranked[part - 1 :: parts]


def _rank(question: Question) -> bytes:
    return blake2b(question.id.encode(), digest_size=8, person=b"subset").digest()
