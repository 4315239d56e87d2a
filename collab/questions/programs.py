"""Generated programming tasks for the scripted coders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from collab.core.trajectory import Checks, Json, Question
from collab.questions.prompt import PromptFormat
from collab.questions.selection import RUNS, Questions


class Programs(Questions):
    """Functions of a few steps on a number, each with its tests."""

    levels: Annotated[tuple[Literal["easy", "middle", "hard"], ...], Field(min_length=1)] = (
        "middle",
    )
    """Some of easy, middle and hard: 2, 4 and 8 steps."""
    count: int = Field(default=50, ge=1, le=150)
    """Tasks per level."""
    seed: int = 0
    """The seed of the tasks."""

    def every(self, prompt: PromptFormat, runs: Path) -> list[Question]:
        """Generate the tasks."""
        from collab.pocket.programs import tasks

        return [
            Question(
                id=f"{level}-{self.seed}-{nth}",
                messages=prompt.messages(task.text),
                answer=task.solution,
                grader="code",
                checks=Checks(suites={"base": "\n".join(task.tests)}, entry="work"),
                labels={"set": "programs", "level": level},
            )
            for level in dict.fromkeys(self.levels)
            for nth, task in enumerate(tasks(level, self.count, self.seed))
        ]

    def origin(self, runs: Path = RUNS) -> Json:
        """Name the family's parameters."""
        return {"family": "programs", "levels": self.levels, "count": self.count, "seed": self.seed}
