"""Question sets, and the prompt that turns a question's text into messages.

A set is a value with one verb, `load`. What the user turn says is a setting of its own, since it
changes what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

from pydantic import Field, field_validator

from collab.errors import ConfigError
from collab.settings import Settings
from collab.trajectory import Message, Question


class Prompt(Settings):
    """What the model is told: a user turn around the question, and a system turn if asked for."""

    user: str = "{question}"
    """The user turn; `{question}` stands for the question's text."""
    system: str | None = None
    """The system turn; none unless asked for."""

    @field_validator("user")
    @classmethod
    def _asks(cls, user: str) -> str:
        if "{question}" not in user:
            raise ValueError(f"user turn {user!r} lacks '{{question}}'")
        return user

    def messages(self, text: str) -> tuple[Message, ...]:
        """Return the conversation that asks a question."""
        user = Message("user", self.user.replace("{question}", text))
        return (user,) if self.system is None else (Message("system", self.system), user)


@runtime_checkable
class QuestionSet(Protocol):
    """Whatever has questions."""

    def load(self, prompt: Prompt) -> list[Question]:
        """Return the questions, each with the messages that ask it."""
        ...


class Pocket(Settings):
    """Word problems of the family that the pocket reasoners know; none was trained on."""

    levels: Annotated[tuple[str, ...], Field(min_length=1)] = ("middle",)
    """Of easy, middle and hard."""
    count: int = Field(default=50, ge=1)
    """Problems a level."""
    seed: int = 0
    """Another seed gives other problems."""

    @field_validator("levels")
    @classmethod
    def _known(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        known = ("easy", "middle", "hard")
        for level in levels:
            if level not in known:
                raise ValueError(f"unknown level {level!r} (levels: {', '.join(known)})")
        if len(set(levels)) < len(levels):
            raise ValueError(f"levels {levels!r} name one twice")
        return levels

    def load(self, prompt: Prompt) -> list[Question]:
        """Make the problems."""
        from collab.pocket.family import problems

        return [
            Question(
                id=problem.id,
                messages=prompt.messages(problem.text),
                answer=str(problem.answer),
                labels={"level": level},
            )
            for level in self.levels
            for problem in problems(level, self.count, self.seed)
        ]


class Jsonl(Settings):
    """One's own questions: a JSON object a line."""

    path: Path
    question: str = "question"
    """The field with the question's text."""
    answer: str = "answer"
    """The field with the known answer; null where nobody knows it."""
    limit: int | None = Field(default=None, ge=1)
    """Read only the first so many."""

    def load(self, prompt: Prompt) -> list[Question]:
        """Read the file.

        Raises:
            ConfigError: It cannot be read; the message names the bad line.
        """
        try:
            lines = self.path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read questions.path={str(self.path)!r}: {error}") from None
        numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip()][: self.limit]
        questions = list(self._read(numbered, prompt))
        if not questions:
            raise ConfigError(f"{str(self.path)!r} holds no questions")
        return questions

    def _read(self, lines: list[tuple[int, str]], prompt: Prompt) -> Iterator[Question]:
        seen: dict[str, int] = {}
        for number, line in lines:
            text, answer = self._fields(number, line)
            name = blake2b(text.encode(), digest_size=6).hexdigest()
            if name in seen:
                raise ConfigError(f"{self.path}:{number} asks what line {seen[name]} asks")
            seen[name] = number
            yield Question(name, prompt.messages(text), answer, labels={"level": self.path.stem})

    def _fields(self, number: int, line: str) -> tuple[str, str | None]:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{self.path}:{number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{self.path}:{number} is no JSON object")
        for field in (self.question, self.answer):
            if field not in row:
                has = ", ".join(sorted(row))
                raise ConfigError(
                    f"{self.path}:{number} has no field {field!r} (it has: {has}); "
                    "set questions.question and questions.answer to the fields' names"
                )
        answer = row[self.answer]
        return str(row[self.question]), None if answer is None else str(answer)
