"""The page, served on loopback: one run or many, read from their folders as they grow.

Only this machine is answered: a request must name loopback as its host, and one that another page
sends (it has an `Origin`) is refused. Answers carry a policy that lets no script in but the page's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab.errors import CollabError, RunError
from collab.folder import RunFolder
from collab.lines import Plain
from collab.report.page import body, script, style
from collab.report.runs import Job, jobs, swept
from collab.report.shape import plain_table, prices, shaped
from collab.report.told import told
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


def viewer(path: Path) -> Starlette:
    """Return the app that shows the runs at a path and below it.

    Raises:
        RunError: There is none.
    """
    shown = Shown(path)
    jobs(path)
    data: Mapping[str, Callable[[Request], object]] = {
        "/data": lambda _: shown.runs(),
        "/data/run": lambda asked: shown.run(asked.query_params["run"]),
        "/data/episode": shown.episode,
        "/data/find": shown.find,
        "/data/diff": shown.diff,
    }
    return Starlette(
        routes=[
            Route("/", _static(DOCUMENT.format(body=body()), "text/html")),
            Route("/page.js", _static(script(), "text/javascript")),
            Route("/style.css", _static(style(), "text/css")),
            *(Route(where, _answer(make)) for where, make in data.items()),
        ],
        middleware=[Middleware(Guard), Middleware(GZipMiddleware, minimum_size=2000)],
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
    _kept: dict[str, tuple[str, Plain]] = field(default_factory=dict)

    def runs(self) -> Plain:
        """Return which runs there are, with a stamp that changes when they do."""
        found = {self._id(job): job for job in jobs(self.path)}
        listed = [
            {"id": name, "title": _title(job), "state": job.state, "stamp": _stamp(job.folder)}
            for name, job in found.items()
        ]
        tables = [plain_table(table) for table in swept(list(found.values()))]
        return {"runs": listed, "tables": tables if len(listed) > 1 else []}

    def run(self, name: str) -> Plain:
        """Return all of a run but its trajectories."""
        job = self._job(name)
        stamp = _stamp(job.folder)
        if self._kept.get(name, ("",))[0] != stamp:
            self._kept[name] = stamp, shaped(job)
        return self._kept[name][1]

    def episode(self, asked: Request) -> Plain:
        """Return one trajectory."""
        job = self._job(asked.query_params["run"])
        episode, _ = job.folder.episode(asked.query_params["episode"])
        return told(episode, prices(job))

    def find(self, asked: Request) -> list[int]:
        """Return the numbers of the episodes that hold a text, or in which a seat wrote."""
        name, words = asked.query_params["run"], asked.query_params
        folder = self._job(name).folder
        found = set(folder.holding(words.get("text", ""), words.get("seat", "")))
        cases = self.run(name)["episodes"]["case"]
        return [n for n, case in enumerate(cases) if case in found]

    def diff(self, asked: Request) -> Plain:
        """Return which cases two runs judge otherwise."""
        one, other = (self._job(asked.query_params[k]).folder.scores() for k in ("one", "other"))
        both = [(score, other[case]) for case, score in one.items() if case in other]
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

    def _id(self, job: Job) -> str:
        below = job.folder.path.relative_to(self.path)
        return str(below) if below.parts else job.folder.path.name

    def _job(self, name: str) -> Job:
        for job in jobs(self.path):
            if self._id(job) == name:
                return job
        raise RunError(f"there is no run {name!r} here")


def _title(job: Job) -> str:
    standing = job.folder.standing
    return standing.title if standing else job.folder.path.name


def _stamp(folder: RunFolder) -> str:
    """Return what changes whenever a run's scores or its standing do."""
    files = [folder.path / name for name in ("scores.jsonl", "standing.json")]
    sizes = [file.stat() for file in files if file.exists()]
    return f"{bool(folder.holder)} " + " ".join(f"{s.st_size} {s.st_mtime_ns}" for s in sizes)
