"""The page, served on loopback: one run or many, read from their folders as they grow.

Only this machine is answered: a request must name loopback as its host, and one that another page
sends (it has an `Origin`) is refused. Answers carry a policy that lets no script in but the page's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab.errors import CollabError, RunError
from collab.folder import RunFolder
from collab.lines import Plain
from collab.peephole import Eye
from collab.report.page import body, script, style
from collab.report.runs import Job, jobs, swept
from collab.report.shape import listed, plain_table, prices, results, title
from collab.report.told import Reads, blocks, told
from collab.stats import paired_effect

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
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


Readers = Callable[[RunFolder], Reads]


def viewer(path: Path, readers: Readers | None = None) -> Starlette:
    """Return the app that shows the runs at a path and below it.

    Args:
        path: A run's folder, or one with runs below it.
        readers: Make of a run who knows its prompts.

    Raises:
        RunError: There is none.
    """
    shown = Shown(path, readers)
    jobs(path)
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
        middleware=[Middleware(Guard)],
    )


@dataclass(frozen=True)
class Guard:
    """Lets those through who are on this machine and come from the page itself."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse; either way with the headers of the page."""
        request = Request(scope)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        if (why := _refusal(request)) is None:
            await self.app(scope, receive, sent)
        else:
            await PlainTextResponse(why, 403)(scope, receive, sent)


def _refusal(request: Request) -> str | None:
    host = request.headers.get("host", "")
    if urlsplit(f"//{host}").hostname not in LOOPBACK:
        return f"host {host!r} is not this machine (open http://127.0.0.1 …)"
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return f"requests from {origin!r} are not answered"
    return None


def _static(text: str, kind: str) -> Callable[[Request], Response]:
    return lambda _: Response(text, media_type=kind)


def _answer(make: Callable[[Request], object]) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await asyncio.to_thread(make, request))
        except KeyError as missing:
            return PlainTextResponse(f"what is asked for lacks {missing}", 400)
        except CollabError as error:
            return PlainTextResponse(str(error), 404)

    return answer


@dataclass
class Shown:
    """The runs below a path, each read again when its files have changed."""

    path: Path
    readers: Readers | None = None
    _eyes: dict[Path, Eye] = field(default_factory=dict)
    _looking: Lock = field(default_factory=Lock)
    """One look at a time: an eye remembers how far it has read."""
    _kept: dict[Path, tuple[str, Job]] = field(default_factory=dict)

    def runs(self) -> Plain:
        """Return which runs there are, with a stamp that changes when they do."""
        return {
            "runs": [
                {"id": self._id(job), "title": title(job), "state": job.state, "stamp": stamp}
                for stamp, job in self._jobs()
            ]
        }

    def sweep(self) -> list[Plain]:
        """Return the tables of all runs."""
        return [plain_table(table) for table in swept([job for _, job in self._jobs()])]

    def job(self, asked: Request, key: str = "run") -> Job:
        """Return the run that a request names.

        Raises:
            RunError: There is none of this name.
        """
        name = asked.query_params[key]
        for _, job in self._jobs():
            if self._id(job) == name:
                return job
        raise RunError(f"there is no run {name!r} here")

    def episode(self, asked: Request) -> Plain:
        """Return one trajectory."""
        job = self.job(asked)
        episode, row = job.folder.episode(asked.query_params["episode"])
        reads = self.readers(job.folder) if self.readers else None
        return told(episode, prices(job), reads, row["question"])

    def find(self, asked: Request) -> list[int]:
        """Return the numbers of the episodes that hold a text, or in which a seat wrote."""
        job, words = self.job(asked), asked.query_params
        found = set(job.folder.holding(words.get("text", ""), words.get("seat", "")))
        return [n for n, score in enumerate(job.scores) if score.case in found]

    def diff(self, asked: Request) -> Plain:
        """Return which cases two runs judge otherwise."""
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
        """Return an episode under way as far as it has come; nothing where there is none."""
        path = self.job(asked).folder.path
        with self._looking:
            seen = self._eyes.setdefault(path, Eye(path)).look()
        if seen is None:
            return {}
        return {
            "case": seen.case,
            "messages": [[message.role, message.content] for message in seen.messages],
            "ended": " · ".join(filter(None, (seen.finish, seen.verdict))),
            "blocks": blocks(seen.trajectory.log),
        }

    def _jobs(self) -> Iterator[tuple[str, Job]]:
        """Yield each run with its stamp; what was read of it stays as long as that does."""
        for job in jobs(self.path):
            where, stamp = job.folder.path, _stamp(job.folder)
            if self._kept.get(where, ("",))[0] != stamp:
                self._kept[where] = stamp, job
            yield self._kept[where]

    def _id(self, job: Job) -> str:
        below = job.folder.path.relative_to(self.path)
        return str(below) if below.parts else job.folder.path.name


def _stamp(folder: RunFolder) -> str:
    """Return what changes whenever a run's scores or its standing do."""
    files = [folder.path / name for name in ("scores.jsonl", "standing.json")]
    sizes = [file.stat() for file in files if file.exists()]
    return f"{bool(folder.holder)} " + " ".join(f"{s.st_size} {s.st_mtime_ns}" for s in sizes)
