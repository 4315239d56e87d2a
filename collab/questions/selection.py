"""Select the questions of a set: by a filter, a number and a shard."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal, Protocol, runtime_checkable

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
    """A class that loads questions."""

    def load(self, prompt: PromptFormat, runs: Path = RUNS) -> list[Question]:
        """Return the questions, each with its messages.

        Args:
            prompt: The run's prompt.
            runs: The folder where a set may store what later loads need, such as a revision.
        """
        ...

    def origin(self, runs: Path = RUNS) -> Json:
        """Describe the origin of the questions exactly enough to load them again."""
        ...


def _texts(value: object) -> object:
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(str(one) for one in values)


Values = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class Questions(Settings, ABC):
    """The base of question sets: a default prompt, and a selection of the questions."""

    prompt: PromptFormat = PromptFormat()
    """The prompt, unless the run sets one."""
    cohort: Path | None = None
    """A file that `collab cohort` wrote: use only its questions."""
    where: dict[str, Values] = Field(default_factory=dict)
    """Allowed values by label, such as level: [4, 5]; leave out other questions."""
    take: int | None = Field(default=None, ge=1)
    """Use this many questions, ranked by content: the first 50 are among the first 100."""
    shard: str | None = None
    """i/n: the i-th of n disjoint parts that cover the set."""

    unreadable: Literal["stop", "skip"] = "stop"
    """What happens if a gold answer cannot be used: stop before the first draw, or skip the
    question and count it in the notes."""

    @field_validator("shard")
    @classmethod
    def _numbered(cls, shard: str | None) -> str | None:
        found = SHARD.fullmatch(shard) if shard is not None else None
        if shard is not None and (found is None or int(found[1]) > int(found[2])):
            raise ValueError(f"shard {shard!r} is not one of 1/n, 2/n … n/n; set for example 1/4")
        return shard

    def load(self, prompt: PromptFormat, runs: Path = RUNS) -> list[Question]:
        """Return the selected questions, in the order of the set.

        Raises:
            ConfigError: The questions cannot be loaded, or none is left.
        """
        questions = self.every(prompt.over(self.prompt), runs)
        kept = self._shard(self._take(self._filter(self._frozen(questions))))
        if questions and not kept:
            raise ConfigError(
                f"none of {len(questions)} questions is left; widen questions.where or .shard"
            )
        chosen = {question.id for question in kept}
        return [question for question in questions if question.id in chosen]

    @abstractmethod
    def every(self, prompt: PromptFormat, runs: Path) -> list[Question]:
        """Return all questions of the set, with unique ids."""

    @abstractmethod
    def origin(self, runs: Path = RUNS) -> Json:
        """Describe the origin of the questions."""

    def _frozen(self, questions: Sequence[Question]) -> Sequence[Question]:
        if self.cohort is None:
            return questions
        ids = set(Cohort.load(self.cohort).questions)
        if strange := ids - {question.id for question in questions}:
            raise ConfigError(
                f"questions.cohort: {len(strange)} of {len(ids)} questions in "
                f"{str(self.cohort)!r} are not in this set, such as {min(strange)!r}; choose the "
                "set of the cohort's runs, with the same settings"
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
                f"questions.take={self.take} is more than the {len(questions)} questions of the set"
            )
        return sorted(questions, key=_rank)[: self.take]

    def _shard(self, ranked: Sequence[Question]) -> Sequence[Question]:
        if self.shard is None:
            return ranked
        part, parts = map(int, self.shard.split("/"))
        return ranked[part - 1 :: parts]


def _rank(question: Question) -> bytes:
    return blake2b(question.id.encode(), digest_size=8, person=b"subset").digest()
