"""Make questions from rows with named fields.

A setting is the name of a field (`problem`, or `choices.text` for a nested one), or a text with
fields in braces (`assert f({input}) == {output}`). The items of a list are joined by commas, or in
a text with braces by newlines.
"""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from string import Formatter, ascii_uppercase
from typing import Any, Literal

from pydantic import Field, field_validator

from collab.core.pattern_text import PatternText
from collab.core.settings import Settings
from collab.core.trajectory import Checks, Domain, Question
from collab.errors import ConfigError
from collab.grading.refusal import WANTED
from collab.questions.prompt import PromptFormat
from collab.questions.selection import Questions

Row = Mapping[str, Any]  # any: JSON
SHOWN = 3
"""Bad rows that an error names."""
log = logging.getLogger(__name__)


class BadRow(Exception):
    """A row that is not a question; the message says why, and the caller adds the place."""


class CheckFields(Settings):
    """The tests of code in a row (see `Checks`)."""

    suites: dict[str, str] = Field(min_length=1)
    """Test code by name, each a field or a text with fields in braces."""
    reads: Literal["program", "value", "call"] = "program"
    before: str | None = None
    entry: str | None = None
    packages: tuple[str, ...] = ()
    seconds: int = Field(default=0, ge=0)
    memory: int = Field(default=0, ge=0)

    def make(self, row: Row) -> Checks:
        """Return the tests of one row."""
        return Checks(
            suites={name: text_of(row, field) or "" for name, field in self.suites.items()},
            reads=self.reads,
            before=(text_of(row, self.before) or "") if self.before else "",
            entry=text_of(row, self.entry) if self.entry else None,
            packages=self.packages,
            seconds=self.seconds,
            memory=self.memory,
        )


class Table(Questions):
    """The base of sets of questions in rows."""

    name: str | None = None
    """The name of the set in tables; None: the name of its file."""
    question: str = "question"
    """The text."""
    answer: str = "answer"
    """The gold answer; null in a row if it is unknown."""
    answer_pattern: PatternText | None = None
    """A regular expression: the answer is the group of its last match."""
    grader: Domain = "maths"
    """The grader: maths, code, choice or refusal."""
    options: str | tuple[str, ...] | None = None
    """For choice: the field with the list of options, or a field for each. The answer is a
    letter, an option's text, or its number from 0."""
    checks: CheckFields | None = None
    """For code: the tests."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels for tables and filters, as label: field."""
    source: str | None = None
    """The publisher of the questions."""
    licence: str | None = None

    @field_validator("answer_pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        groups = re.compile(pattern).groups if pattern is not None else 1
        if groups != 1:
            raise ValueError(f"{pattern!r} has {groups} groups; put one group around the answer")
        return pattern

    @abstractmethod
    def rows(self, runs: Path) -> Iterator[tuple[str, Row | BadRow]]:
        """Yield each row with its place."""

    def questions_of(
        self, rows: Iterable[tuple[str, Row | BadRow]], name: str, prompt: PromptFormat
    ) -> Iterator[tuple[str, Question]]:
        """Make questions from rows and their places.

        Raises:
            ConfigError: Some rows are not questions; the message names the first ones.
        """
        bad: list[str] = []
        for place, row in rows:
            try:
                if isinstance(row, BadRow):
                    raise row
                yield place, replace(self._question(row, name, prompt), place=place)
            except BadRow as error:
                bad.append(f"{place} {error}")
        if bad:
            more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            raise ConfigError("; ".join(bad[:SHOWN]) + more)

    def _question(self, row: Row, name: str, prompt: PromptFormat) -> Question:
        text = text_of(row, self.question)
        if not text or not text.strip():
            raise BadRow(
                f"has no text in {self.question!r}; set questions.question to another field"
            )
        answer = self._answer(row)
        options = self._options(row)
        checks = self.checks.make(row) if self.checks is not None else None
        if options:
            text = f"{text}\n\n{_listed(options)}"
            answer = None if answer is None else _letter(answer, options)
        own = {label: text_of(row, field) for label, field in self.labels.items()}
        return Question(
            id=_id(text, *(checks.suites.values() if checks else ())),
            messages=prompt.messages(text),
            answer=answer,
            grader=self.grader,
            options=options,
            checks=checks,
            labels={"set": name, "level": name} | {k: v for k, v in own.items() if v is not None},
        )

    def _answer(self, row: Row) -> str | None:
        answer = text_of(row, self.answer)
        if self.grader == "refusal" and answer not in WANTED:
            raise BadRow(
                f"has the answer {answer!r}; for grader refusal, use {' or '.join(WANTED)}"
            )
        if answer is None or self.answer_pattern is None:
            return answer
        found = re.findall(self.answer_pattern, answer)
        if not found:
            raise BadRow(f"has an answer that questions.answer_pattern does not match: {answer!r}")
        return str(found[-1]).strip()

    def _options(self, row: Row) -> tuple[str, ...]:
        if self.grader != "choice":
            return ()
        if isinstance(self.options, tuple):
            options = tuple(text_of(row, field) or "" for field in self.options)
        else:
            found = value_of(row, self.options or "options")
            options = tuple(map(str, found)) if isinstance(found, list | tuple) else ()
        if not 2 <= len(options) <= len(ascii_uppercase):
            raise BadRow(f"has {len(options)} options; set questions.options to a list of 2 to 26")
        return options


def unique(named: Iterable[tuple[str, Question]], *, strict: bool) -> list[Question]:
    """Return the questions without duplicates.

    Args:
        named: The questions with their places.
        strict: Raise an error for a duplicate; else leave it out and log it.

    Raises:
        ConfigError: A question occurs twice; the message names both places.
    """
    places: dict[str, str] = {}
    kept: dict[str, Question] = {}
    for place, question in named:
        if question.id not in kept:
            places[question.id], kept[question.id] = place, question
        elif strict or question.answer != kept[question.id].answer:
            raise ConfigError(f"{place} asks what {places[question.id]} asks; remove one of them")
        else:
            log.warning("%s asks what %s asks; it is left out", place, places[question.id])
    return list(kept.values())


def text_of(row: Row, field: str) -> str | None:
    """Return the text of a row for a field, or for a text with fields in braces.

    Raises:
        BadRow: There is no such field, or it holds no text.
    """
    if "{" not in field:
        return _text(value_of(row, field), field)
    parts: list[str] = []
    for literal, name, _, _ in Formatter().parse(field):
        inner = None if name is None else _text(value_of(row, name), name, "\n")
        parts += [literal, inner or ""]
    return "".join(parts)


def value_of(row: Row, field: str) -> Any:  # any: JSON
    """Return the value of a field of a row; the field may be nested.

    Raises:
        BadRow: There is no such field.
    """
    if field in row:
        return row[field]
    head, dot, rest = field.partition(".")
    if dot and isinstance(row.get(head), Mapping):
        return value_of(row[head], rest)
    raise BadRow(
        f"has no field {field!r} (its fields: {', '.join(sorted(map(str, row)))}); "
        "set questions.question, questions.answer … to the fields' names"
    )


def _text(value: Any, field: str, between: str = ", ") -> str | None:  # any: JSON
    match value:
        case None | str():
            return value
        case float() if value.is_integer():
            return str(int(value))
        case bool() | int() | float():
            return str(value)
        case list() | tuple():
            return between.join(_text(one, field, between) or "" for one in value)
        case _:
            raise BadRow(f"has a {type(value).__name__} in {field!r}, not a text")


def _listed(options: tuple[str, ...]) -> str:
    return "\n".join(f"{letter}) {text}" for letter, text in zip(ascii_uppercase, options))  # noqa: B905 - fewer options than letters


def _letter(answer: str, options: tuple[str, ...]) -> str:
    letters = ascii_uppercase[: len(options)]
    if answer.strip().upper() in set(letters):
        return answer.strip().upper()
    if answer in options:
        return letters[options.index(answer)]
    if answer.strip().isdecimal() and int(answer) < len(options):
        return letters[int(answer)]
    raise BadRow(f"has the answer {answer!r}, which is not one of its options A to {letters[-1]}")


def _id(*content: str) -> str:
    text = "\0".join(content).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=6).hexdigest()
