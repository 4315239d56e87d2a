"""The page: a run's report as one file that needs no network, or as served by `collab view`.

The data are gzipped JSON in base64, so text of models is never read as HTML; the script adds it to
the page only as text. Episodes are in blocks, and the page decodes only those that it shows.
"""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import islice
from math import isfinite
from pathlib import Path

from collab.report.episode_json import PromptSource, episode_json
from collab.report.run_json import listed, prices, results
from collab.report.runs import RunSummary
from collab.runs.jsonl import Plain

SCRIPTS = ("dom.js", "source.js", "figure.js", "episode.js", "list.js", "app.js")
BLOCK = 40
"""Episodes per block."""
DECODED = 10_000_000
"""The most prompt tokens that a file includes, because decoding takes seconds; others are shown
when served."""
LARGEST = 25 * 1024 * 1024
"""The most characters of data in a file; the rest goes into shards next to it."""


def write_report(
    job: RunSummary, reads: PromptSource | None = None, largest: int = LARGEST
) -> list[Path]:
    """Write a run's `report.html`, and shards next to it if it would be too large.

    Args:
        job: The run.
        reads: The source of its prompts.
        largest: The most characters of data in one file.

    Raises:
        RunError: A file cannot be written, or the run's own are damaged.
    """
    run = listed(job)
    blocks = [packed(block) for block in _blocks(job, reads)]
    whole = sum(map(len, blocks)) <= largest
    data = {"run": run, "results": results(job), "size": BLOCK, "blocks": len(blocks)}
    shards = {} if whole else {f"report-{k}.js": block for k, block in enumerate(blocks)}
    for old in job.folder.path.glob("report-*.js"):
        if old.name not in shards and re.fullmatch(r"report-\d+\.js", old.name):
            old.unlink()
    for k, (name, block) in enumerate(shards.items()):
        job.folder.write(name, f'window.collab_block_{k}("{block}");\n')
    job.folder.write("report.html", _document(run["title"], data, blocks if whole else []))
    return [job.folder.path / name for name in ("report.html", *shards)]


def script() -> str:
    """Return the page's script, in a scope of its own."""
    inner = "\n".join(_asset(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{inner}\n}})();\n'


def style() -> str:
    """Return the page's style sheet."""
    return _asset("style.css")


def body() -> str:
    """Return the page's HTML before the script fills it."""
    return _asset("page.html")


def packed(value: object) -> str:
    """Return JSON, gzipped in base64: the same bytes for the same value."""
    text = as_json(value)
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def as_json(value: object) -> str:
    """Return JSON that any parser reads: half surrogate pairs are escaped, numbers are finite."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=True)


def _finite(value: object) -> object:
    match value:
        case dict():
            return {key: _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [*map(_finite, value)]
        case float() if not isfinite(value):
            return None
        case _:
            return value


def _blocks(job: RunSummary, reads: PromptSource | None) -> Iterator[list[Plain | None]]:
    """Yield the episodes in blocks, with prompts if they are few enough to decode."""
    read = sum(score.seams.tokens for score in job.scores if score.seams)
    reads = reads if read < DECODED else None
    finished, costs = job.folder.finished(), prices(job)

    def episode_of(case: str) -> Plain | None:
        if case not in finished:
            return None
        episode, row = job.folder.at(finished[case])
        return episode_json(episode, costs, reads, row["question"])

    cases = (score.case for score in job.scores)
    while names := list(islice(cases, BLOCK)):
        yield list(map(episode_of, names))


def _document(title: str, data: object, blocks: Iterable[str]) -> str:
    """Combine everything into one file; its policy allows only its own script and style."""
    code, look = script(), style()
    rules = f"script-src '{_hash(code)}' 'strict-dynamic'; style-src '{_hash(look)}'"
    held = (
        f'<script type="text/plain" id="{name}">{text}</script>'
        for name, text in [
            ("data", packed(data)),
            *((f"block-{k}", block) for k, block in enumerate(blocks)),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; {rules}; '
        "base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{look}</style>\n</head>\n<body>\n{body()}"
        + "\n".join(held)
        + f"\n<script>{code}</script>\n</body>\n</html>\n"
    )


def _hash(text: str) -> str:
    digest = sha256(text.encode()).digest()
    return f"sha256-{b64encode(digest).decode()}"


def _asset(name: str) -> str:
    return (files("collab.report.page") / name).read_text(encoding="utf-8")
