"""Export a run as tidy tables: a row per episode, per unit, and per seat's costs.

Text of models is untrusted. A CSV cell that a spreadsheet would run as a formula gets a leading
apostrophe, and half a surrogate pair becomes a question mark.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from collab.core.cost import Cost
from collab.core.release import extra
from collab.core.trajectory import Json
from collab.episode.engine import Episode
from collab.errors import ConfigError
from collab.runs.jsonl import written
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

FileFormat = Literal["csv", "parquet"]
Cells = Mapping[str, Json]
Columns = Mapping[str, type]
BATCH = 1000
"""Rows per batch of a Parquet file."""
UNITS: Columns = {
    "case": str,
    "number": int,
    "phase": str,
    "author": str,
    "kind": str,
    "tokens": int,
    "top20_entropy": float,
    "why": str,
    "text": str,
}
COSTS: Columns = {
    "case": str,
    "seat": str,
    "of": str,
    **{name: type(value) for name, value in asdict(Cost()).items()},
}
EPISODES: Columns = {
    "case": str,
    "question": str,
    "policy": str,
    "finish": str,
    "verdict": str,
    "correct": bool,
    "strict": bool,
    "lenient": bool,
    "extracted": str,
    "said_rival": bool,
    "tokens": int,
    "units": int,
}


class TableFile(Protocol):
    """A file of rows."""

    def add(self, row: Cells) -> None:
        """Add a row."""
        ...

    def close(self) -> None:
        """Write the remaining rows and close the file."""
        ...


class CsvTable:
    """A CSV file, UTF-8 with a header."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._file = path.open("w", encoding="utf-8", errors="replace", newline="")
        self._rows = csv.DictWriter(self._file, list(columns))
        self._rows.writeheader()

    def add(self, row: Cells) -> None:
        """Write a row."""
        self._rows.writerow({name: _harmless(cell) for name, cell in row.items()})

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass
class ParquetTable:
    """A Parquet file, written by pyarrow."""

    path: Path
    columns: Columns
    _rows: list[Cells] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise ConfigError(
                f"Parquet needs pyarrow: {extra('export')}, or give --form csv"
            ) from None
        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in self.columns.items()])
        self._batch = pa.RecordBatch
        self._writer: Any = pq.ParquetWriter(self.path, self._schema)  # any: pyarrow has no types

    def add(self, row: Cells) -> None:
        """Add a row to the current batch."""
        self._rows.append({name: readable(cell) for name, cell in row.items()})
        if len(self._rows) == BATCH:
            self._flush()

    def close(self) -> None:
        """Write the remaining rows and close the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_batch(self._batch.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


def export(folder: RunFolder, to: Path, form: FileFormat) -> Iterator[int]:
    """Write `episodes`, `units` and `costs`; yield the number of finished episodes after each.

    Raises:
        ConfigError: A required package is not installed.
        RunError: The folder holds no run, or a file cannot be written.
    """
    _ = folder.manifest
    make = CsvTable if form == "csv" else ParquetTable
    with written(to), ExitStack() as stack:
        to.mkdir(parents=True, exist_ok=True)

        def table(name: str, columns: Columns) -> TableFile:
            made: TableFile = make(to / f"{name}.{form}", columns)
            stack.callback(made.close)
            return made

        yield from fill(folder, table)


def fill(folder: RunFolder, table: Callable[[str, Columns], TableFile]) -> Iterator[int]:
    """Fill `episodes`, `units` and `costs`; yield the number of finished episodes after each.

    Args:
        folder: The run.
        table: Creates a table from a name and columns.
    """
    scores = folder.scores()
    labels = _labels(scores.values())
    episodes = table("episodes", {**EPISODES, **labels})
    units, costs = table("units", UNITS), table("costs", COSTS)
    for done, (episode, row) in enumerate(folder.episodes(), 1):
        score = scores[episode.case]
        episodes.add(_episode(episode, score, str(row["policy"]), labels))
        for unit in _units(episode):
            units.add(unit)
        for cost in _costs(episode):
            costs.add(cost)
        yield done


def _labels(scores: Iterable[Score]) -> dict[str, type]:
    """Return the column of each factor and label: the common type of its values, or text."""
    kinds: dict[str, set[type]] = {}
    for score in scores:
        for name, value in score.factors.items():
            kinds.setdefault(f"label_{name}", set()).update({type(value)} - {type(None)})
    return {name: _common(found) for name, found in kinds.items()}


def _common(kinds: set[type]) -> type:
    if kinds == {int, float}:
        return float
    return next(iter(kinds)) if len(kinds) == 1 else str


def _episode(episode: Episode, score: Score, policy: str, labels: Columns) -> Cells:
    cells = {name: score.factor(name.removeprefix("label_")) for name in labels}
    return {
        "case": score.case,
        "question": score.question,
        "policy": policy,
        "finish": episode.finish,
        "verdict": score.verdict,
        "correct": score.correct,
        "strict": score.strict,
        "lenient": score.lenient,
        "extracted": score.extracted,
        "said_rival": score.said_rival,
        "tokens": score.tokens,
        "units": len(episode.trajectory.units) + len(episode.trajectory.reply),
        **{name: value if value is None else labels[name](value) for name, value in cells.items()},
    }


def _units(episode: Episode) -> Iterator[Cells]:
    """Yield the units of the final trajectory, then those of the answer."""
    trajectory = episode.trajectory
    for number, unit in enumerate((*trajectory.units, *trajectory.reply), 1):
        cells = {name: getattr(unit, name) for name in UNITS if name not in ("case", "number")}
        yield {"case": episode.case, "number": number, **cells}


def _costs(episode: Episode) -> Iterator[Cells]:
    for seat, costs in episode.costs.items():
        for name, cost in costs.items():
            yield {"case": episode.case, "seat": seat, "of": name, **asdict(cost)}


def _harmless(cell: Json) -> Json:
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + cell
    return cell


def readable(cell: Json) -> Json:
    """Return text that any file format takes: half a surrogate pair becomes a question mark."""
    return cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell
