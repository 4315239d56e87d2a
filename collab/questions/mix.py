"""Several question sets as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field, InstanceOf

from collab.core.trajectory import Json, Question
from collab.questions.prompt import PromptFormat
from collab.questions.selection import RUNS, Questions, QuestionSet


class Mix(Questions):
    """The questions of all parts; how many of each is the part's own setting.

    A question that two parts have comes once, from the first. The label `level`, by which tables
    go, is the part's name; `within` is the level that the part gave.
    """

    parts: dict[str, InstanceOf[QuestionSet]] = Field(min_length=1)
    """Question sets by the name that tables give them."""

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
        """Name where each part comes from."""
        return {name: part.origin(runs) for name, part in self.parts.items()}
