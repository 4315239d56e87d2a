"""`collab import NAME SOURCE`: import solo traces that were sampled elsewhere.

SOURCE is a file (jsonl, json, csv, parquet), or a dataset of the Hugging Face hub (owner/name with
--files). Its rows may be traces, lists of traces, replies of a server or of a batch, or vLLM
outputs. They are graded as in a run, and kept in runs/banks/NAME/ with their model and sampling.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collab.app.compose import add_config_arguments, composed
from collab.app.graders import open_graders
from collab.config.config import Built
from collab.core.trajectory import Question, Recording
from collab.errors import ConfigError
from collab.questions import Hub, Jsonl, PromptFormat
from collab.questions.dumps import USUAL, TraceFacts, fields_of, trace_facts, unrolled
from collab.questions.files import Rows, rows_of
from collab.questions.table import BadRow, Row
from collab.report.live import RunProgress
from collab.report.tables import print_whole
from collab.report.trajectory import safe
from collab.runs.jsonl import Plain, line_of
from collab.runs.lock import held, now
from collab.runs.run import each, graded, noting
from collab.runs.traces import NAME, Trace, keep, write

SHOWN = 3


def main(argv: list[str]) -> int:
    """Import the traces and print a summary."""
    parser = argparse.ArgumentParser(
        prog="collab import",
        description=__doc__,
        epilog=f"Fields of a row: {', '.join(USUAL)}; the usual names are recognised. "
        "example: collab import mine traces.jsonl --field answer=gold --field model=meta.model",
    )
    parser.add_argument("name", help="the name of the new bank")
    parser.add_argument("source", help="a file, or owner/name of a dataset on the hub")
    add_config_arguments(parser)
    add = parser.add_argument
    add("--files", action="append", metavar="PATTERN", help="files of the dataset, such as data/*")
    add("--revision", help="a commit, branch or tag of the dataset")
    add(
        "--field",
        action="append",
        default=[],
        metavar="WHAT=FIELD",
        help="the field with WHAT",
    )
    add("--model", help="the model of the traces, if no field names it")
    add("--requests", type=Path, help="for a batch: the file with its requests (by custom_id)")
    add(
        "--tags",
        nargs=2,
        default=("<think>", "</think>"),
        metavar=("OPEN", "CLOSE"),
        help="the tags around the thinking, if thinking and reply are one text",
    )
    words = parser.parse_intermixed_args(argv)
    built = composed(words.overrides, words.config_dir, trust=words.trust)
    return asyncio.run(_import(_Source(words, built.config.runs), built, Console(soft_wrap=True)))


@dataclass(frozen=True)
class _Source:
    """The source of the traces, and how to read it."""

    words: argparse.Namespace
    runs: Path

    @property
    def given(self) -> dict[str, str]:
        """The fields that the command line names.

        Raises:
            ConfigError: A name is unknown.
        """
        pairs = [word.partition("=") for word in self.words.field]
        if strange := [key for key, _, name in pairs if key not in USUAL or not name]:
            raise ConfigError(f"--field {strange[0]}=… is unknown; use one of {', '.join(USUAL)}")
        return {key: name for key, _, name in pairs}

    def rows(self) -> Rows:
        """Yield the rows of the source."""
        path, files = Path(self.words.source), self.words.files
        if path.is_file():
            return rows_of(path, path.name)
        if not files:
            raise ConfigError(
                f"{self.words.source!r} is not a file; for a dataset or a folder add --files"
            )
        hub = Hub(repo=self.words.source, files=tuple(files), revision=self.words.revision)
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
                    tags, model = tuple(self.words.tags), self.words.model
                    yield place, trace_facts(trace, fields, tags, model)
            except BadRow as error:
                yield place, error

    def _requests(self) -> Mapping[str, Row]:
        if self.words.requests is None:
            return {}
        rows = rows_of(self.words.requests, self.words.requests.name)
        return {str(row.get("custom_id")): row for _, row in rows if not isinstance(row, BadRow)}

    def _with_request(self, row: Row, requests: Mapping[str, Row]) -> Row:
        """Return a row of a batch together with its request."""
        body = requests.get(str(row.get("custom_id")), {}).get("body")
        return {**body, **row} if isinstance(body, Mapping) else row

    def origin(self) -> Plain:
        """Return the source and the fields, for the record."""
        return {"source": self.words.source, "files": self.words.files, "fields": self.given}


@dataclass(frozen=True)
class _Found:
    """The traces of a source and their questions."""

    traces: Sequence[Trace]
    questions: Mapping[str, Question]
    left: Sequence[str]
    """The place of each row that was left out, and why."""


async def _import(source: _Source, built: Built, console: Console) -> int:
    name, runs = source.words.name, built.config.runs
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{name!r} is no name for a bank; use letters, digits, - _ .")
    folder = runs / "banks" / name
    with held(folder, "collab import"):
        found = _read_traces(source, built, folder)
        traces = await _grade(found, built, source.words.tags[1], console)
        keep(folder, traces, {**source.origin(), "at": now(), "left out": len(found.left)})
    _print_models(traces, console)
    for line in found.left[:SHOWN]:
        console.print(safe(f"left out: {line}"), markup=False, highlight=False)
    if len(found.left) > SHOWN:
        console.print(f"… and {len(found.left) - SHOWN:,} more left out")
    asked = "" if _has_set(source) else f"questions=jsonl questions.path={folder}/questions.jsonl "
    by = min(trace.recording.model for trace in traces)
    console.print(
        f"done: {len(traces)} traces in {folder}; play them with\n  collab run … {asked}"
        f"+team.main.bank.name={name} '+team.main.bank.model=\"{by}\"'",
        markup=False,
        highlight=False,
    )
    return 0


def _has_set(source: _Source) -> bool:
    return any(word.startswith("questions=") for word in source.words.overrides)


def _read_traces(source: _Source, built: Built, folder: Path) -> _Found:
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
        raise ConfigError(f"{source.words.source!r} holds no trace: {why}")
    if _has_set(source):
        asked = built.questions.load(PromptFormat(user="{question}"), built.config.runs)
    else:
        asked = _write_questions(read, folder / "questions.jsonl")
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


async def _grade(found: _Found, built: Built, close: str, console: Console) -> list[Trace]:
    """Grade the traces as in a run."""
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
    for question, error in islice(failures.items(), SHOWN):
        console.print(safe(f"not graded: {question}: {error}"), style="red", markup=False)
    return [done[number] for number in sorted(done)]


def _print_models(traces: Sequence[Trace], console: Console) -> None:
    """Print a row for each model."""
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for column in ("traces", "questions", "closed", "correct", "its file says", "they agree on"):
        table.add_column(column, justify="right", no_wrap=True)
    for model, count in Counter(trace.recording.model for trace in traces).most_common():
        of = [trace for trace in traces if trace.recording.model == model]
        claimed = [trace for trace in of if trace.claimed is not None]
        agreed = sum(trace.claimed == trace.recording.correct for trace in claimed)
        cells = (
            count,
            len({trace.recording.question for trace in of}),
            sum(trace.recording.closed for trace in of),
            sum(bool(trace.recording.correct) for trace in of),
            f"{sum(map(_claims, claimed))} of {len(claimed)}" if claimed else "–",
            f"{agreed} of {len(claimed)}" if claimed else "–",
        )
        table.add_row(Text(safe(model)), *map(str, cells))
    print_whole(console, table)


def _claims(trace: Trace) -> bool:
    return bool(trace.claimed)
