"""Word problems for the pocket reasoners."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from collab.core.trajectory import Json, Question
from collab.questions.prompt import PromptFormat
from collab.questions.selection import RUNS, Questions


class Pocket(Questions):
    """Unseen problems of the family that the pocket reasoners are trained on."""

    levels: Annotated[tuple[str, ...], Field(min_length=1)] = ("middle",)
    """Some of easy, middle and hard."""
    count: int = Field(default=50, ge=1)
    """Problems per level."""
    seed: int = 0
    """The seed of the problems."""

    @field_validator("levels")
    @classmethod
    def _known(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        known = ("easy", "middle", "hard")
        for level in levels:
            if level not in known:
                raise ValueError(f"unknown level {level!r} (levels: {', '.join(known)})")
        if len(set(levels)) < len(levels):
            raise ValueError(f"levels {levels!r} repeats a level; name each once")
        return levels

    def every(self, prompt: PromptFormat, runs: Path) -> list[Question]:
        """Generate the problems."""
        from collab.pocket.family import problems

        return [
            Question(
                id=problem.id,
                messages=prompt.messages(problem.text),
                answer=str(problem.answer),
                labels={"set": "pocket", "level": level},
            )
            for level in self.levels
            for problem in problems(level, self.count, self.seed)
        ]

    def origin(self, runs: Path = RUNS) -> Json:
        """Name the family's parameters."""
        return {"family": "pocket", "levels": self.levels, "count": self.count, "seed": self.seed}
