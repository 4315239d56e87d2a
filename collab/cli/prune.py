"""`collab prune`: remove generations that no run needs from the store, after listing them."""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from collab.app.compose import add_config_arguments, composed
from collab.errors import StoreError
from collab.report.tables import print_whole
from collab.report.trajectory import safe
from collab.store.database import Database
from collab.store.database.place import name_of, url_of
from collab.store.database.prune import PrunePlan, find_unneeded, remove

DAY = 86400


def main(argv: list[str]) -> int:
    """List the generations that no run needs; with --yes, remove them."""
    parser = argparse.ArgumentParser(prog="collab prune", description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        "--older-than", type=float, metavar="DAYS", help="only generations that are older"
    )
    parser.add_argument("--model", metavar="NAME", help="only these models, such as 'plain@*'")
    parser.add_argument(
        "--run",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="only generations of this run, which then no longer needs them (repeatable)",
    )
    parser.add_argument("--yes", action="store_true", help="remove them")
    asked = parser.parse_args(argv)
    where = composed(asked.overrides, asked.config_dir, trust=asked.trust).config.store.url
    url = url_of(where)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise StoreError(f"no store {name_of(url)!r}; set store.url, or change to its folder")
    asyncio.run(_prune(where, asked, Console(highlight=False)))
    return 0


async def _prune(where: str, asked: argparse.Namespace, console: Console) -> None:
    database, now = Database(where), time.time()
    try:
        await database.prepare(now)
        before = None if asked.older_than is None else now - asked.older_than * DAY
        what = await find_unneeded(database, before=before, model=asked.model, named=asked.run)
        _show(what, console)
        if asked.yes:
            await _remove(database, what, console)
        elif what.count:
            console.print("nothing is removed yet: add --yes")
    finally:
        await database.close()


def _show(what: PrunePlan, console: Console) -> None:
    for run in what.runs:
        console.print(f"no longer needs its generations: {safe(run)}", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("model")
    for column in ("generations", "tokens", "size", "from", "to"):
        table.add_column(column, justify="right")
    for lot in what.lots:
        days = (datetime.fromtimestamp(at, UTC).date() for at in (lot.oldest, lot.newest))
        numbers = f"{lot.count:,}", f"{lot.tokens:,}", decimal(lot.size)
        table.add_row(safe(lot.model), *numbers, *map(str, days))
    if what.lots:
        print_whole(console, table)
    console.print(f"no run needs {what.count:,} generations; {what.kept:,} stay")


async def _remove(database: Database, what: PrunePlan, console: Console) -> None:
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("removing", total=what.count)
        removed = 0
        async for count in remove(database, what):
            removed += count
            progress.advance(task, count)
    console.print(f"removed {removed:,} generations")
