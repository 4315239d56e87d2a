"""Several question sets as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field, InstanceOf

from collab.core.trajectory import Json, Question
from collab.questions.prompt import PromptFormat
from collab.questions.selection import RUNS, Questions, QuestionSet


class Mix(Questions):
    """The questions of all parts; each part sets how many of its own.

    A question in two parts is taken once, from the first. Its label `level` (the rows of tables) is
    the part's name, and `within` is the level that the part gave it.
    """

    parts: dict[str, InstanceOf[QuestionSet]] = Field(min_length=1)
    """Question sets by their names in tables."""

    def every(self, prompt: PromptFormat, runs: Path) -> list[Question]:
        """Load every part."""
        questions: dict[str, Question] = {}
        for name, part in self.parts.items():
            for question in part.load(prompt, runs):
                own = question.labels
                labels = {**own, "set": name, "level": name, "within": own.get("level", name)}
                questions.setdefault(question.id, replace(question, labels=labels))
        return list(questions.values())

    def origin(self, runs: Path = RUNS) -> Json:
        """Name the origin of each part."""
        return {name: part.origin(runs) for name, part in self.parts.items()}
