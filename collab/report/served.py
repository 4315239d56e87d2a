"""Serve the page on loopback, for one run or many, from folders that may still grow.

The address has a secret in its path, so only users of this machine who know it are answered.
Requests from other sites are refused, and responses have a policy that allows no script but the
page's own.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab.analysis.stats import paired_effect
from collab.errors import CollabError, RunError
from collab.report.episode_json import PromptSource, blocks, episode_json
from collab.report.page import as_json, body, script, style
from collab.report.run_json import listed, plain_table, prices, results, title
from collab.report.runs import RunSummary, run_folders, swept
from collab.runs.enclosed import BROKEN
from collab.runs.jsonl import Plain
from collab.runs.live_view import LiveViewer
from collab.runs.lock import LockHolder
from collab.runs.run_folder import RunFolder
from collab.serving import Guard, WireError

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>collab</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
{body}<script src="page.js"></script>
</body>
</html>
"""


Readers = Callable[[RunFolder], PromptSource]


def viewer(path: Path, readers: Readers | None = None, *, secret: str | None = None) -> Starlette:
    """Return the app that shows the runs at a path and below it.

    Args:
        path: A run's folder, or one with runs below it.
        readers: Returns the source of a run's prompts.
        secret: The first part of every address; None: answer every user of this machine.

    Raises:
        RunError: There are no runs.
    """
    shown = ServedRuns(path, readers)
    run_folders(path)
    data: Mapping[str, Callable[[Request], object]] = {
        "/data": lambda _: shown.runs(),
        "/data/sweep": lambda _: shown.sweep(),
        "/data/run": lambda asked: listed(shown.job(asked)),
        "/data/results": lambda asked: results(shown.job(asked)),
        "/data/episode": shown.episode,
        "/data/find": shown.find,
        "/data/diff": shown.diff,
        "/data/growing": shown.growing,
    }
    return Starlette(
        routes=[
            Route("/", _static(DOCUMENT.format(body=body()), "text/html")),
            Route("/page.js", _static(script(), "text/javascript")),
            Route("/style.css", _static(style(), "text/css")),
            *(Route(where, _answer(make)) for where, make in data.items()),
        ],
        middleware=[
            Middleware(_Headed),
            Middleware(Guard, links=True, refuse=_refuse),
            *([] if secret is None else [Middleware(_Secret, secret=secret)]),
        ],
    )


@dataclass(frozen=True)
class _Headed:
    """Add the page's headers to every response."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self.app(scope, receive, sent)


@dataclass(frozen=True)
class _Secret:
    """Answer only requests with the secret in their path."""

    app: ASGIApp
    secret: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given, slash, rest = scope["path"].removeprefix("/").partition("/")
        if not hmac.compare_digest(given.encode(), self.secret.encode()):
            message = "the address is incomplete: open the one that `collab view` printed"
            await PlainTextResponse(message, 403)(scope, receive, send)
        elif not slash:  # links in the page are relative to the folder
            await RedirectResponse(f"/{self.secret}/")(scope, receive, send)
        else:
            await self.app({**scope, "path": f"/{rest}"}, receive, send)


def _refuse(error: WireError) -> Response:
    return PlainTextResponse(error.message, error.status)


def _static(text: str, kind: str) -> Callable[[Request], Response]:
    return lambda _: Response(text, media_type=kind)


def _answer(make: Callable[[Request], object]) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        try:
            text = as_json(await asyncio.to_thread(make, request))
            return Response(text, media_type="application/json")
        except KeyError as missing:
            return PlainTextResponse(f"the request lacks {missing}", 400)
        except CollabError as error:
            return PlainTextResponse(_as_text(str(error)), 404)
        except BROKEN as error:
            message = f"its files hold a value that no run writes ({type(error).__name__}: {error})"
            return PlainTextResponse(_as_text(message), 500)

    return answer


def _as_text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass
class ServedRuns:
    """The runs below a path; each is read again when its files have changed."""

    path: Path
    readers: Readers | None = None
    _viewers: dict[Path, LiveViewer] = field(default_factory=dict)
    _looking: Lock = field(default_factory=Lock)
    """One request at a time: a viewer remembers how far it has read."""
    _kept: dict[Path, tuple[str, RunSummary | CollabError]] = field(default_factory=dict)

    def runs(self) -> Plain:
        """Return the runs, each with a stamp that changes with its files; damaged ones last."""
        runs: list[Plain] = []
        damaged: list[Plain] = []
        for path, (stamp, job) in self._load():
            known = {"id": self._id(path), "stamp": stamp}
            if isinstance(job, RunSummary):
                runs.append({**known, "title": title(job), "state": job.state})
            else:
                damaged.append({**known, "title": path.name, "state": f"left out: {job}"})
        return {"runs": [*runs, *damaged]}

    def sweep(self) -> list[Plain]:
        """Return the tables of all runs."""
        found = [job for _, (_, job) in self._load() if isinstance(job, RunSummary)]
        return [plain_table(table) for table in swept(found)]

    def job(self, asked: Request, key: str = "run") -> RunSummary:
        """Return the run that a request names.

        Raises:
            RunError: No run has this name.
        """
        name = asked.query_params[key]
        for path, (_, job) in self._load():
            if self._id(path) == name:
                if isinstance(job, CollabError):
                    raise job
                return job
        raise RunError(f"no run is named {name!r}")

    def episode(self, asked: Request) -> Plain:
        """Return one episode."""
        job = self.job(asked)
        episode, row = job.folder.episode(asked.query_params["episode"])
        reads = self.readers(job.folder) if self.readers else None
        return episode_json(episode, prices(job), reads, row["question"])

    def find(self, asked: Request) -> list[int]:
        """Return the numbers of the episodes that hold a text, or in which a seat wrote."""
        job, words = self.job(asked), asked.query_params
        found = set(job.folder.holding(words.get("text", ""), words.get("seat", "")))
        return [n for n, score in enumerate(job.scores) if score.case in found]

    def diff(self, asked: Request) -> Plain:
        """Return the cases with different verdicts in two runs."""
        one, other = (self.job(asked, key).scores for key in ("one", "other"))
        there = {score.case: score for score in other}
        both = [(score, there[score.case]) for score in one if score.case in there]
        if not both:
            return {"said": "the two runs have no case in common", "flipped": []}
        solved = [[score.correct for score in side] for side in zip(*both, strict=True)]
        effect = paired_effect(*solved, [score.question for score, _ in both])
        flipped = [(a, b) for a, b in both if a.verdict != b.verdict]
        return {
            "said": f"{len(both)} cases in common; solved here minus there: "
            f"{100 * effect.value:+.0f} [{100 * effect.low:+.0f},{100 * effect.high:+.0f}] points",
            "flipped": [
                {"case": a.case, "verdict": a.verdict, "other": b.verdict} for a, b in flipped
            ],
        }

    def growing(self, asked: Request) -> Plain:
        """Return an episode in progress so far; empty if there is no such episode."""
        path = self.job(asked).folder.path
        with self._looking:
            snapshot = self._viewers.setdefault(path, LiveViewer(path)).look()
        if snapshot is None:
            return {}
        return {
            "case": snapshot.case,
            "messages": [[message.role, message.content] for message in snapshot.messages],
            "ended": " · ".join(filter(None, (snapshot.finish, snapshot.verdict))),
            "blocks": blocks(snapshot.trajectory.log),
        }

    def _load(self) -> Iterator[tuple[Path, tuple[str, RunSummary | CollabError]]]:
        """Yield each folder with its stamp, and its run or the reason why it cannot be read.

        A run is kept in memory until its stamp changes.
        """
        for path in run_folders(self.path):
            stamp = _stamp(path)
            if self._kept.get(path, ("",))[0] != stamp:
                self._kept[path] = stamp, _job(path)
            yield path, self._kept[path]

    def _id(self, path: Path) -> str:
        below = path.relative_to(self.path)
        return str(below) if below.parts else path.name


def _job(path: Path) -> RunSummary | CollabError:
    try:
        return RunSummary.load(path)
    except CollabError as error:
        return error


def _stamp(path: Path) -> str:
    """Return a stamp of a run's manifest, scores and status."""
    files = [path / name for name in ("manifest.json", "scores.jsonl", "standing.json")]
    sizes = [file.lstat() for file in files if file.exists()]
    stamps = " ".join(f"{s.st_size} {s.st_mtime_ns}" for s in sizes)
    return f"{bool(LockHolder.of(path))} {stamps}"
