"""Recorded traces: solo thinking that was sampled elsewhere and replaces a seat's solo draws.

The exact prompt of such a text is unknown, so it is a recording and never a draw. Its parts are
marked as recorded on the trajectory, and everything after them is sampled.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, TypeAdapter

from collab.core.settings import Settings
from collab.core.trajectory import Json, Question, Recording
from collab.errors import ConfigError
from collab.runs.jsonl import JsonLines, Plain, line_of, written

if TYPE_CHECKING:
    from collab.endpoints.tokens import Tokenizer

NAME = r"^[\w-][\w.-]*$"


class TraceSelection(Settings):
    """The traces that replace a seat's solo draws."""

    name: str = Field(pattern=NAME)
    """The name that `collab import` gave them."""
    model: str | None = None
    """Their model; None: the only model of the traces."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A recording, with the other fields of its file."""

    recording: Recording
    sampling: Mapping[str, Json] = field(default_factory=dict)
    """Its sampling settings, as far as they are known."""
    claimed: bool | None = None
    """The verdict of its file."""


_TRACE: TypeAdapter[Trace] = TypeAdapter(Trace)


@dataclass(frozen=True)
class Traces:
    """One model's recorded traces."""

    name: str
    model: str
    sampling: str
    """The sampling settings, as text."""
    recordings: Mapping[str, Sequence[Recording]]
    """By question, in the order of their numbers."""

    @classmethod
    def load(cls, runs: Path, bank: TraceSelection) -> Traces:
        """Load the traces of a seat.

        Raises:
            ConfigError: No traces have that name, or by that model; the message lists those that
                exist.
        """
        every = list(JsonLines(file_of(runs, bank.name)).values(_TRACE))
        counts = Counter(trace.recording.model for trace in every)
        if bank.model not in counts and (bank.model is not None or len(counts) > 1):
            listed = ", ".join(f"{name!r} ({count:,})" for name, count in counts.most_common())
            fault = "holds several models" if bank.model is None else f"lacks {bank.model!r}"
            raise ConfigError(f"bank {bank.name!r} {fault}; set bank.model to one of {listed}")
        model = bank.model or next(iter(counts))
        of: dict[str, list[Recording]] = {}
        mine = [trace for trace in every if trace.recording.model == model]
        for trace in mine:
            of.setdefault(trace.recording.question, []).append(trace.recording)
        drawn = sorted({json.dumps(trace.sampling, sort_keys=True) for trace in mine})
        return cls(bank.name, model, ", ".join(drawn), of)

    def describe(self, seat: str, questions: Iterable[Question], count: int) -> str:
        """Describe the traces of a seat, and where there are too few."""
        have = [len(self.recordings.get(question.id, ())) for question in questions]
        few = sum(0 < number < count for number in have)
        return (
            f"{seat}: recorded traces of {self.model} replace its solo draws (bank {self.name}, "
            f"sampling {self.sampling}); {few} of {len(have)} questions have fewer than {count}, "
            f"and {have.count(0)} have none and are left out"
        )


def file_of(runs: Path, name: str) -> Path:
    """Return the file with the traces of an import.

    Raises:
        ConfigError: No import has that name; the message lists those that exist.
    """
    file = runs / "banks" / name / "traces.jsonl"
    if not file.exists():
        there = ", ".join(sorted(one.parent.name for one in runs.glob("banks/*/traces.jsonl")))
        raise ConfigError(
            f"there is no bank {name!r} in {str(runs / 'banks')!r} (banks: {there or 'none'}); "
            "`collab import` makes one"
        )
    return file


def hash_of(runs: Path, name: str) -> str:
    """Hash the traces of an import; the hash decides a run's numbers.

    Raises:
        ConfigError: No import has that name.
    """
    with file_of(runs, name).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:12]


def in_tokens(recording: Recording, tokenizer: Tokenizer) -> Recording:
    """Return a recording in the tokens of the model that reads it, for shares in tokens.

    The tokens are those of the text in one piece; its author may have drawn others.
    """
    ids = tokenizer.encode(recording.text)
    if tokenizer.decode(ids) != recording.text:
        return recording
    return replace(
        recording,
        ids=ids,
        tokens=len(ids),
        tokenizer=tokenizer.fingerprint,
        ends=tokenizer.ends(ids),
    )


def keep(folder: Path, traces: Iterable[Trace], about: Plain) -> None:
    """Write the files of an import.

    Raises:
        RunError: They cannot be written.
    """
    rows = (_TRACE.dump_python(trace, mode="json") for trace in traces)
    write(folder / "about.json", [json.dumps(about, indent=2, ensure_ascii=False), "\n"])
    write(folder / "traces.jsonl", map(line_of, rows))


def write(path: Path, parts: Iterable[str]) -> None:
    """Replace a whole file at once, so that readers never see half of it.

    Raises:
        RunError: It cannot be written; the old file stays.
    """
    aside = path.with_name(f".{path.name}.new")
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8", errors="surrogatepass") as file:
            file.writelines(parts)
        aside.replace(path)
