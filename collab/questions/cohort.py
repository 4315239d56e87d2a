"""A cohort: which questions several models solve alike, frozen in a file.

Claims between models hold on the same questions only (paper §3.1: the shared subset). The file says
by which rule the questions were chosen, of which models; a run that asks them notes its hash.
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
    """How often one model solved each question alone."""

    model: str
    samples: int
    """Solo draws a question."""
    solved: Mapping[str, int]
    """Correct draws, by question."""


class Cohort(Settings):
    """Questions that every one of `models` solved so often in its solo draws."""

    models: tuple[str, ...] = Field(min_length=1)
    samples: int = Field(ge=1)
    """Solo draws a question."""
    least: int = Field(ge=0)
    most: int = Field(ge=0)
    questions: tuple[str, ...] = Field(min_length=1)
    """Their ids, sorted."""

    @classmethod
    def of(cls, benches: Sequence[SolveCounts], least: int, most: int) -> Self:
        """Choose the questions that all models solved `least` to `most` times.

        Raises:
            ConfigError: The models were not asked alike, or no question is left.
        """
        first, *others = benches
        for other in others:
            _must_match(first, other)
        if not 0 <= least <= most <= first.samples:
            raise ConfigError(
                f"solved {least} to {most} times, of {first.samples} draws: allowed are counts "
                f"from 0 to {first.samples}, the lower one first"
            )
        chosen = [
            name
            for name in sorted(first.solved)
            if all(least <= bench.solved[name] <= most for bench in benches)
        ]
        if not chosen:
            raise ConfigError(
                f"none of {len(first.solved)} questions is solved {counted(least, most)} of "
                f"{first.samples} times by all of {', '.join(one.model for one in benches)}; ask "
                "more questions, or widen the counts"
            )
        return cls(
            models=tuple(sorted(bench.model for bench in benches)),
            samples=first.samples,
            least=least,
            most=most,
            questions=tuple(chosen),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` made.

        Raises:
            ConfigError: It cannot be read, or holds no cohort.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"questions.cohort: cannot read {str(path)!r} ({error.strerror}); "
                "collab cohort writes one"
            ) from None
        except ValidationError as error:
            raise ConfigError(
                f"questions.cohort: {str(path)!r} holds no cohort ({error.error_count()} errors, "
                f"such as: {error.errors()[0]['msg']}); collab cohort writes one"
            ) from None

    def write(self, path: Path) -> None:
        """Freeze it in a file; the same one again changes nothing.

        Raises:
            ConfigError: The file holds other questions, or cannot be written.
        """
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        try:
            if path.exists() and path.read_text(encoding="utf-8") != text:
                raise ConfigError(
                    f"{str(path)!r} is frozen with something else in it; give another file, or "
                    "remove this one (runs that asked its questions name its hash)"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {str(path)!r}: {error.strerror}") from None

    @property
    def digest(self) -> str:
        """Name its questions (48 bits in hex), however they were chosen."""
        return blake2b("\n".join(self.questions).encode(), digest_size=6).hexdigest()

    def __str__(self) -> str:
        """Say by which rule they were chosen."""
        return (
            f"{len(self.questions)} questions solved {counted(self.least, self.most)} of "
            f"{self.samples} times by all of {', '.join(self.models)}"
        )


def counted(least: int, most: int) -> str:
    """Say a range of counts."""
    return str(least) if least == most else f"{least} to {most}"


def shared(benches: Iterable[SolveCounts], least: int, most: int) -> dict[str, int]:
    """Count for each model alone the questions that it solved `least` to `most` times."""
    return {
        bench.model: sum(least <= count <= most for count in bench.solved.values())
        for bench in benches
    }


def _must_match(one: SolveCounts, other: SolveCounts) -> None:
    if one.model == other.model:
        raise ConfigError(f"two runs are of model {one.model!r}; give one run a model")
    if one.samples != other.samples:
        raise ConfigError(
            f"{one.model} has {one.samples} draws a question and {other.model} {other.samples}: "
            "counts of unlike numbers are no cohort; run both with the same scenario.samples"
        )
    if one.solved.keys() != other.solved.keys():
        odd = len(one.solved.keys() ^ other.solved.keys())
        raise ConfigError(
            f"{odd} questions were asked of only one of {one.model} and {other.model}; run both "
            "on the same questions, to the end"
        )
