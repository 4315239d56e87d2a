"""Questions from a JSON lines file of your own."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from collab.core.trajectory import Json, Question
from collab.errors import ConfigError
from collab.questions.files import rows_of
from collab.questions.prompt import PromptFormat
from collab.questions.selection import RUNS
from collab.questions.table import BadRow, Row, Table, unique


class Jsonl(Table):
    """The questions of a file; errors name the line."""

    path: Path

    def every(self, prompt: PromptFormat, runs: Path) -> list[Question]:
        """Load the file.

        Raises:
            ConfigError: The file cannot be read; the message names the bad lines.
        """
        made = self.questions_of(self.rows(runs), self.name or self.path.stem, prompt)
        questions = unique(made, strict=True)
        if not questions:
            raise ConfigError(f"{str(self.path)!r} holds no questions")
        return questions

    def rows(self, runs: Path) -> Iterator[tuple[str, Row | BadRow]]:
        """Yield the lines."""
        return rows_of(self.path, str(self.path), ".jsonl")

    def origin(self, runs: Path = RUNS) -> Json:
        """Name the file and its hash."""
        found = sha256(self.path.read_bytes()).hexdigest()
        return {"path": str(self.path), "sha256": found, "licence": self.licence}
