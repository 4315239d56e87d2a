"""Import solo traces that were sampled elsewhere, and grade them as a run does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from collab.app.graders import open_graders
from collab.config.config import Built
from collab.core.trajectory import Question, Recording
from collab.errors import ConfigError
from collab.questions import Hub, Jsonl, PromptFormat
from collab.questions.atif import atif_rows
from collab.questions.dumps import USUAL, TraceFacts, fields_of, trace_facts, unrolled
from collab.questions.files import Rows, rows_of
from collab.questions.table import BadRow, Row
from collab.report.live import RunProgress
from collab.runs.jsonl import Plain, line_of
from collab.runs.lock import held, now
from collab.runs.run import each, graded, noting
from collab.runs.traces import NAME, Trace, keep, write

SHOWN = 3
"""The number of bad rows that an error quotes."""


@dataclass(frozen=True)
class TraceSource:
    """The source of the traces, and how to read it."""

    source: str
    """A file, a folder, or a dataset of the hub."""
    runs: Path
    """The folder of runs, which keeps downloads."""
    form: Literal["rows", "atif"] = "rows"
    """The form of the source: rows with named fields, or ATIF files."""
    files: Sequence[str] = ()
    """Patterns of the files of a folder or a dataset."""
    revision: str | None = None
    """A commit, branch or tag of the dataset."""
    fields: Sequence[str] = ()
    """Assignments `what=field` from the command line."""
    model: str | None = None
    """The model of the traces, if no field names it."""
    requests: Path | None = None
    """For a batch: the file with its requests."""
    tags: tuple[str, str] = ("<think>", "</think>")
    """The tags around the thinking, if thinking and reply are one text."""
    own_questions: bool = True
    """Whether the traces bring their questions; otherwise the config's question set has them."""

    @property
    def given(self) -> dict[str, str]:
        """The fields that the command line names.

        Raises:
            ConfigError: A name is unknown.
        """
        pairs = [word.partition("=") for word in self.fields]
        if strange := [key for key, _, name in pairs if key not in USUAL or not name]:
            raise ConfigError(f"--field {strange[0]}=… is unknown; use one of {', '.join(USUAL)}")
        return {key: name for key, _, name in pairs}

    def rows(self) -> Rows:
        """Yield the rows of the source."""
        path, files = Path(self.source), self.files
        if self.form == "atif":
            return atif_rows(path)
        if path.is_file():
            return rows_of(path, path.name)
        if not files:
            raise ConfigError(
                f"{self.source!r} is not a file; for a dataset or a folder add --files"
            )
        hub = Hub(repo=self.source, files=tuple(files), revision=self.revision)
        return hub.rows(self.runs)

    def facts(self) -> Iterator[tuple[str, TraceFacts | BadRow]]:
        """Yield each trace, or the error of its row, with its place in the source."""
        fields: dict[str, str] = {}
        requests = self._requests()
        for place, row in self.rows():
            try:
                if isinstance(row, BadRow):
                    raise row
                for trace in unrolled(self._with_request(row, requests), self.given.get("text")):
                    fields = fields or fields_of(trace, self.given)
                    yield place, trace_facts(trace, fields, self.tags, self.model)
            except BadRow as error:
                yield place, error

    def _requests(self) -> Mapping[str, Row]:
        if self.requests is None:
            return {}
        rows = rows_of(self.requests, self.requests.name)
        return {str(row.get("custom_id")): row for _, row in rows if not isinstance(row, BadRow)}

    def _with_request(self, row: Row, requests: Mapping[str, Row]) -> Row:
        """Return a row of a batch together with its request."""
        body = requests.get(str(row.get("custom_id")), {}).get("body")
        return {**body, **row} if isinstance(body, Mapping) else row

    def origin(self) -> Plain:
        """Return the source and the fields, for the record."""
        return {"source": self.source, "files": [*self.files] or None, "fields": self.given}


@dataclass(frozen=True)
class _Found:
    """The traces of a source and their questions."""

    traces: Sequence[Trace]
    questions: Mapping[str, Question]
    left: Sequence[str]
    """The place of each row that was left out, and why."""


@dataclass(frozen=True)
class ImportedTraces:
    """The traces that were kept, and the rows that were not."""

    folder: Path
    traces: Sequence[Trace]
    left_out: Sequence[str]
    """The place of each row that was left out, and why."""
    not_graded: Mapping[str, str]
    """The errors of traces without a verdict, by question."""


async def import_traces(
    name: str, source: TraceSource, built: Built, console: Console
) -> ImportedTraces:
    """Import the traces of a source into the bank runs/banks/NAME/.

    Args:
        name: The name of the new bank.
        source: The source of the traces.
        built: The config with the grader, and the question set if the source brings none.
        console: Where progress is shown.

    Raises:
        ConfigError: The name is unfit; or the source holds no trace, or none on a question of
            the set.
    """
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{name!r} is no name for a bank; use letters, digits, - _ .")
    folder = built.config.runs / "banks" / name
    with held(folder, "collab import"):
        found = _read_traces(source, built, folder)
        traces, failures = await _grade(found, built, source.tags[1], console)
        keep(folder, traces, {**source.origin(), "at": now(), "left out": len(found.left)})
    return ImportedTraces(folder, traces, found.left, failures)


def _read_traces(source: TraceSource, built: Built, folder: Path) -> _Found:
    """Read the source, and find the question of each trace.

    Raises:
        ConfigError: The source holds no trace, or none on a question of the set.
    """
    read: list[TraceFacts] = []
    left: list[str] = []
    places: list[str] = []
    for place, facts in source.facts():
        if isinstance(facts, BadRow):
            left.append(f"{place} {facts}")
        else:
            read.append(facts)
            places.append(place)
    if not read:
        why = "; ".join(left[:SHOWN]) or "it is empty"
        raise ConfigError(f"{source.source!r} holds no trace: {why}")
    if source.own_questions:
        asked = _write_questions(read, folder / "questions.jsonl")
    else:
        asked = built.questions.load(PromptFormat(user="{question}"), built.config.runs)
    texts = {question.messages[-1].content: question for question in asked}
    numbers: Counter[tuple[str, str]] = Counter()
    traces: list[Trace] = []
    for place, facts in zip(places, read, strict=True):
        question = _match(facts.question, texts)
        if question is None:
            left.append(f"{place} is about no question of the set: {facts.question[:60]!r}")
            continue
        traces.append(_trace(facts, question, numbers[facts.model, question.id]))
        numbers[facts.model, question.id] += 1
    if not traces:
        raise ConfigError(f"none of {len(read)} traces is on a question of the set: {left[-1]}")
    return _Found(traces, {question.id: question for question in asked}, left)


def _write_questions(read: Sequence[TraceFacts], file: Path) -> list[Question]:
    """Write the questions of the traces to a file, and load them as a run does.

    Raises:
        ConfigError: A question has two gold answers.
    """
    answers: dict[str, str | None] = {}
    for facts in read:
        text, answer = facts.question, facts.answer
        known = answers.setdefault(text, answer)
        if known is None:
            answers[text] = answer
        elif answer not in (None, known):
            raise ConfigError(f"question {text!r} has two answers: {known!r}, {answer!r}")
    rows = ({"question": text, "answer": answer} for text, answer in answers.items())
    write(file, map(line_of, rows))
    return Jsonl(path=file, name=file.parent.name).load(PromptFormat())


def _match(text: str, texts: Mapping[str, Question]) -> Question | None:
    """Return the question that a text equals, or contains, as a prompt does."""
    if text in texts:
        return texts[text]
    inside = [known for known in texts if known.strip() in text]
    return texts[max(inside, key=len)] if inside else None


def _trace(facts: TraceFacts, question: Question, number: int) -> Trace:
    recording = Recording(
        question=question.id,
        text=facts.thinking,
        tokens=facts.tokens,
        model=facts.model,
        draw=number,
        answer=facts.reply,
        closed=facts.closed,
        correct=facts.claimed,
    )
    return Trace(recording, facts.sampling, facts.claimed)


async def _grade(
    found: _Found, built: Built, close: str, console: Console
) -> tuple[list[Trace], dict[str, str]]:
    """Grade the traces as in a run; return them, and the errors of those that have no verdict."""
    config, questions = built.config, [*found.questions.values()]
    done: dict[int, Trace] = {}
    failures: dict[str, str] = {}
    async with (
        open_graders(config.grader, questions, config.runs) as rules,
        RunProgress(console).watching() as stages,
    ):
        stages.expect("traces", len(found.traces))

        async def grade_trace(numbered: tuple[int, Trace]) -> None:
            number, trace = numbered
            question = found.questions[trace.recording.question]
            done[number] = trace
            with noting(question.id, failures):
                recording = await graded(rules, (close,), question, trace.recording)
                done[number] = replace(trace, recording=recording)
            stages.step("traces")

        await each(enumerate(found.traces), grade_trace, config.concurrency)
    return [done[number] for number in sorted(done)], failures
