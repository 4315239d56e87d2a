"""A cohort: the questions that several models solve equally often, frozen in a file.

Claims that compare models need the same questions (paper §3.1: the shared subset). The file says
how the questions were chosen and for which models. A run on these questions stores the file's hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from collab.core.settings import Settings
from collab.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SolveCounts:
    """The solve count of each question for one model alone."""

    model: str
    samples: int
    """Solo draws per question."""
    solved: Mapping[str, int]
    """Correct draws, by question."""


class Cohort(Settings):
    """Questions that each of `models` solved from `least` to `most` times in its solo draws."""

    models: tuple[str, ...] = Field(min_length=1)
    samples: int = Field(ge=1)
    """Solo draws per question."""
    least: int = Field(ge=0)
    most: int = Field(ge=0)
    questions: tuple[str, ...] = Field(min_length=1)
    """Sorted ids."""

    @classmethod
    def of(cls, benches: Sequence[SolveCounts], least: int, most: int) -> Self:
        """Choose the questions that all models solved `least` to `most` times.

        Raises:
            ConfigError: The models have different questions or numbers of draws, or no question is
                left.
        """
        first, *others = benches
        for other in others:
            _must_match(first, other)
        if not 0 <= least <= most <= first.samples:
            raise ConfigError(
                f"solved {least} to {most} times of {first.samples} draws is not a range; set "
                f"counts from 0 to {first.samples}, the lower one first"
            )
        chosen = [
            name
            for name in sorted(first.solved)
            if all(least <= bench.solved[name] <= most for bench in benches)
        ]
        if not chosen:
            raise ConfigError(
                f"none of {len(first.solved)} questions is solved {counted(least, most)} of "
                f"{first.samples} times by all of {', '.join(one.model for one in benches)}; use "
                "more questions or widen the counts"
            )
        return cls(
            models=tuple(sorted(bench.model for bench in benches)),
            samples=first.samples,
            least=least,
            most=most,
            questions=tuple(chosen),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a file that `write` made.

        Raises:
            ConfigError: The file cannot be read, or holds no cohort.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"questions.cohort: cannot read {str(path)!r} ({error.strerror}); "
                "`collab cohort` writes one"
            ) from None
        except ValidationError as error:
            raise ConfigError(
                f"questions.cohort: {str(path)!r} is not a cohort ({error.error_count()} errors, "
                f"first: {error.errors()[0]['msg']}); `collab cohort` writes one"
            ) from None

    def write(self, path: Path) -> None:
        """Write the cohort to a file; writing the same cohort again changes nothing.

        Raises:
            ConfigError: The file holds another cohort, or cannot be written.
        """
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        try:
            if path.exists() and path.read_text(encoding="utf-8") != text:
                raise ConfigError(
                    f"{str(path)!r} already holds another cohort; give another file, or remove "
                    "this one (runs on its questions refer to its hash)"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {str(path)!r}: {error.strerror}") from None

    @property
    def digest(self) -> str:
        """Return a digest of its questions (48 bits in hex), however they were chosen."""
        return blake2b("\n".join(self.questions).encode(), digest_size=6).hexdigest()

    def __str__(self) -> str:
        """Describe how the questions were chosen."""
        return (
            f"{len(self.questions)} questions solved {counted(self.least, self.most)} of "
            f"{self.samples} times by all of {', '.join(self.models)}"
        )


def counted(least: int, most: int) -> str:
    """Format a range of counts."""
    return str(least) if least == most else f"{least} to {most}"


def shared(benches: Iterable[SolveCounts], least: int, most: int) -> dict[str, int]:
    """Count the questions that each model solved `least` to `most` times."""
    return {
        bench.model: sum(least <= count <= most for count in bench.solved.values())
        for bench in benches
    }


def _must_match(one: SolveCounts, other: SolveCounts) -> None:
    if one.model == other.model:
        raise ConfigError(f"two runs are of model {one.model!r}; give one run per model")
    if one.samples != other.samples:
        raise ConfigError(
            f"{one.model} has {one.samples} draws a question and {other.model} {other.samples}; "
            "run both with the same scenario.samples"
        )
    if one.solved.keys() != other.solved.keys():
        odd = len(one.solved.keys() ^ other.solved.keys())
        raise ConfigError(
            f"{odd} questions were given to only one of {one.model} and {other.model}; finish "
            "both runs on the same questions"
        )
