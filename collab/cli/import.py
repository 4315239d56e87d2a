"""`collab import NAME SOURCE`: import solo traces that were sampled elsewhere.

SOURCE is a file (jsonl, json, csv, parquet), or a dataset of the Hugging Face hub (owner/name with
--files). Its rows may be traces, lists of traces, replies of a server or of a batch, or vLLM
outputs. They are graded as in a run, and kept in runs/banks/NAME/ with their model and sampling.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collab.app.compose import add_config_arguments, composed
from collab.app.import_traces import ImportedTraces, TraceSource, import_traces
from collab.questions.dumps import USUAL
from collab.report.tables import print_whole
from collab.report.trajectory import safe
from collab.runs.traces import Trace

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
    add(
        "--from",
        dest="form",
        choices=("rows", "atif"),
        default="rows",
        help="atif: an ATIF file, or a folder of them; single-author trajectories become traces",
    )
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
    source = TraceSource(
        source=words.source,
        runs=built.config.runs,
        form=words.form,
        files=words.files or (),
        revision=words.revision,
        fields=words.field,
        model=words.model,
        requests=words.requests,
        tags=tuple(words.tags),
        own_questions=not any(word.startswith("questions=") for word in words.overrides),
    )
    console = Console(soft_wrap=True)
    imported = asyncio.run(import_traces(words.name, source, built, console))
    for question, error in islice(imported.not_graded.items(), SHOWN):
        console.print(safe(f"not graded: {question}: {error}"), style="red", markup=False)
    _print_models(imported.traces, console)
    _print_left_out(imported.left_out, console)
    _print_done(imported, source, console)
    return 0


def _print_left_out(left_out: Sequence[str], console: Console) -> None:
    for line in left_out[:SHOWN]:
        console.print(safe(f"left out: {line}"), markup=False, highlight=False)
    if len(left_out) > SHOWN:
        console.print(f"… and {len(left_out) - SHOWN:,} more left out")


def _print_done(imported: ImportedTraces, source: TraceSource, console: Console) -> None:
    """Print how to play the traces."""
    folder, traces = imported.folder, imported.traces
    asked = f"questions=jsonl questions.path={folder}/questions.jsonl "
    by = min(trace.recording.model for trace in traces)
    console.print(
        f"done: {len(traces)} traces in {folder}; play them with\n"
        f"  collab run … {asked if source.own_questions else ''}"
        f"+team.main.bank.name={folder.name} '+team.main.bank.model=\"{by}\"'",
        markup=False,
        highlight=False,
    )


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
