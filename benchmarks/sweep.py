"""Measure how much the concurrent jobs of a sweep save by sharing a store.

    python benchmarks/sweep.py [--url postgresql://…]

The sweep is recoverability on a shipped reasoner at five insertion points, for two lengths of the
steer, with and without the original's first paragraph: 20 jobs by joblib, 8 at once, of which 2 are
refused. The tokens sampled are those that the runs paid for. The tokens needed together are those
in the store, and the tokens that a job would need on its own are those that the store gave it. The
last line is one JSON object. `sweep_tokens_ratio` is 1 if no draw was sampled twice;
`alone_tokens_ratio` is the saving by sharing. `--url` names a PostgreSQL database without tables;
the default store is SQLite.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from collab.pocket.server import PocketBackend
from collab.runs.run_folder import RunFolder
from collab.serving import build_app, serve
from collab.store.database import Database
from collab.store.database.tables import generations, needs

CELLS = 18
WORDS = (
    *("run", "-m", "twin=recoverability_small", "name=swept", "budget=300"),
    *("questions.levels=[easy]", "questions.count=4", "scenario.samples=2"),
    *("scenario.points=[0.0],[0.2],[0.4],[0.6],[0.8]", "scenario.length=0.2,0.4"),
    *("scenario.keep_first_paragraph=false,true", "team.main.launch=null"),
    *("hydra/launcher=processes", "hydra.launcher.n_jobs=8", "grader.maths.workers=1"),
)


def sweep(folder: Path, where: str) -> None:
    """Play all jobs; the exit status is 1 because of the refused ones."""
    with serve(build_app(PocketBackend())) as url:
        words = [*WORDS, f"+team.main.base_url={url}", f"store.url={where}"]
        done = subprocess.run([sys.executable, "-m", "collab", *words], cwd=folder, check=False)
    assert done.returncode == 1, f"the sweep ended with {done.returncode}"


async def tokens(where: str) -> tuple[int, int]:
    """Return the tokens in a store, and the sum of the tokens that it gave to each run."""
    database = Database(where)
    total = sa.func.sum(generations.c.tokens)
    given = sa.join(needs, generations, needs.c.key == generations.c.key)

    def work(connection: sa.Connection) -> tuple[int, int]:
        statements = sa.select(total), sa.select(total).select_from(given)
        held, separate = (int(connection.execute(query).scalar_one()) for query in statements)
        return held, separate

    try:
        await database.prepare(time.time())
        return await database.read(work)
    finally:
        await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="an empty PostgreSQL database")
    url = parser.parse_args().url
    with TemporaryDirectory() as name:
        folder = Path(name)
        where = url or str(folder / "store.sqlite")
        sweep(folder, where)
        runs = [RunFolder(path.parent) for path in folder.glob("runs/swept/*/scores.jsonl")]
        assert len(runs) == CELLS, f"{len(runs)} jobs were played, not {CELLS}"
        sampled = sum(cost.completion for run in runs for cost in run.spent.values())
        held, given = asyncio.run(tokens(where))
    print(f"{sampled:,} tokens sampled, {held:,} in the store, {given:,} given to jobs")
    found = {
        "sweep_tokens_ratio": round(sampled / held, 4),
        "alone_tokens_ratio": round(given / held, 2),
        "sweep_tokens": sampled,
        "jobs": len(runs),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
