"""The folder of a run: its manifest, and a line per episode and score.

The manifest stores what decides the numbers, and a later start must have the same. A finished
episode is one line. Its score is another, with the byte where the episode begins, so a long run is
opened by its scores only.
"""

from __future__ import annotations

import json
import os
import platform
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    WrapSerializer,
)

from collab.core.bounded_json import parse_json
from collab.core.cost import Cost
from collab.core.design import Design, Label
from collab.core.nearest import nearest
from collab.core.release import installed
from collab.core.trajectory import Event, Finish, Question, Trajectory
from collab.episode.engine import Case, Episode
from collab.errors import PolicyError, RunError
from collab.runs.enclosed import check_enclosed, created, read_small
from collab.runs.jsonl import JsonLines, Plain, first_fault, line_of, written
from collab.runs.lock import LockHolder, held, now
from collab.scenarios.base import Score

TEXTS = ("text", "question", "reply", "why")
PACKAGES = ("openai", "pydantic", "hydra-core", "math-verify", "numpy", "tokenizers")
"""The libraries whose versions a manifest stores, besides collab's own."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of a run, for other processes."""

    title: str
    by: str
    """The factor or label whose values are the rows of its table."""
    cases: int | None = None
    """The number of cases; None while it is unknown."""
    notes: Sequence[str] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    """The error of each case, or question of a bank, that failed."""
    stopped: str = ""
    """The error that stopped the last start."""
    published: str = ""
    """The system whose published claims the report tests; empty for none."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The byte where the episode of a score begins."""

    case: str
    at: int


class _Seat(BaseModel):
    """Required fields of a seat in a manifest."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    prices: dict[str, float | None] | None = None


class _Decides(BaseModel):
    """Required fields of what decides the numbers."""

    model_config = ConfigDict(extra="allow")

    team: dict[str, _Seat] = {}


class _Start(BaseModel):
    """Required fields of a start."""

    model_config = ConfigDict(extra="allow")

    at: str = ""
    versions: dict[str, str | None] = {}


class _Manifest(BaseModel):
    """Required fields of a manifest."""

    model_config = ConfigDict(extra="allow")

    decides: _Decides
    starts: list[_Start]
    id: str = Field(default="", pattern=r"^[0-9a-f]{0,32}$")
    config: dict[str, Any] = {}  # any: JSON


@dataclass(frozen=True, slots=True)
class _Row:
    """Required fields of an episode's line."""

    case: str
    question: str
    policy: str
    finish: Finish
    log: list[Event]
    costs: Mapping[str, Mapping[str, Cost]]
    labels: Mapping[str, Label]
    rival: str | None
    sampled: int
    stored: int


def _with_design(row: object) -> object:
    """Split the labels of a stored score into its design and the others."""
    if isinstance(row, dict) and isinstance(row.get("labels"), dict):
        design, labels = Design.split(row["labels"])
        return {**row, "design": design, "labels": labels}
    return row


def _with_all_labels(score: Score, dump: SerializerFunctionWrapHandler) -> Plain:
    """Store the factors of the design among the labels."""
    row: Plain = dump(score)
    del row["design"]
    return {**row, "labels": score.factors}


_EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])
_ROW: TypeAdapter[_Row] = TypeAdapter(_Row)
_SCORE: TypeAdapter[Score] = TypeAdapter(
    Annotated[Score, BeforeValidator(_with_design), WrapSerializer(_with_all_labels)]
)
_QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
_COSTS: TypeAdapter[Mapping[str, Mapping[str, Cost]]] = TypeAdapter(
    Mapping[str, Mapping[str, Cost]]
)
_SPENT: TypeAdapter[dict[str, Cost]] = TypeAdapter(dict[str, Cost])
_STATUS: TypeAdapter[RunStatus] = TypeAdapter(RunStatus)
_PLACE: TypeAdapter[_Place] = TypeAdapter(_Place)
HEAD = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"case"\s*:\s*("(?:[^"\\]|\\.)*")\s*[,}]', re.DOTALL)
"""The beginning of an episode's line, with any spaces; the group is the case."""


def digest(decides: Mapping[str, Any]) -> str:
    """Return a digest of what decides a run's numbers (48 bits in hex), for any order of keys."""
    text = json.dumps(decides, sort_keys=True, separators=(",", ":"), default=str)
    return blake2b(text.encode(), digest_size=6).hexdigest()


class RunFolder:
    """The files of one run. Use `RunFolder.enter` to write, or create one to read.

    Args:
        path: The folder.
        verdicts: The name of later verdicts (`collab regrade`); empty: the run's own.

    Raises:
        RunError: There are no verdicts of that name, or a link leads out of the folder.
    """

    def __init__(self, path: Path, verdicts: str = "") -> None:
        check_enclosed(path)
        self.path = path
        self._episodes = JsonLines(path / "episodes.jsonl")
        self._scores = JsonLines(_regraded(path, verdicts) if verdicts else path / "scores.jsonl")
        self._questions = JsonLines(path / "questions.jsonl")

    @classmethod
    @contextmanager
    def enter(
        cls,
        path: Path,
        decides: Plain,
        start: Plain,
        config: Plain | None = None,
        mark: str = "",
    ) -> Iterator[RunFolder]:
        """Lock a folder for writing; create it if it is new.

        Args:
            path: The folder.
            decides: What decides the numbers; it must equal the manifest's.
            start: What to store about this start (versions and host are added).
            config: The whole config with its paths and addresses, for commands that continue from
                it.
            mark: Proves to the user who started the run that the config is their own.

        Raises:
            RunError: Another process writes there, or `decides` differs; the message lists the
                keys.
        """
        with held(path, start.get("command", "")):
            folder = cls(path)
            folder._open(decides, start, config or {}, mark)
            yield folder

    @property
    def manifest(self) -> Plain:
        """The manifest.

        Raises:
            RunError: It is missing or damaged.
        """
        here = self.path / "manifest.json"
        try:
            manifest: Plain = parse_json(read_small(here))
            _Manifest.model_validate(manifest)
        except OSError as error:
            raise RunError(_no_run(self.path, error)) from None
        except ValueError as error:
            why = first_fault(error) if isinstance(error, ValidationError) else error
            raise RunError(
                f"{str(here)!r} is damaged ({why}); move the folder away, and run the same command "
                "to make it again from the store"
            ) from None
        return manifest

    @property
    def id(self) -> str:
        """The run's id in the store, independent of the folder's name."""
        return str(self.manifest["id"])

    @property
    def holder(self) -> LockHolder | None:
        """The process that is writing here."""
        return LockHolder.of(self.path)

    @property
    def status(self) -> RunStatus | None:
        """The last stored status."""
        with suppress(OSError, ValueError):
            return _STATUS.validate_python(parse_json(read_small(self.path / "standing.json")))
        return None

    def write_status(self, status: RunStatus) -> None:
        """Store the status."""
        text = json.dumps(_STATUS.dump_python(status), indent=2, ensure_ascii=False)
        self.write("standing.json", text + "\n")

    @property
    def spent(self) -> dict[str, Cost]:
        """The total cost by seat when the last start ended; the store has the current one."""
        with suppress(OSError, ValueError):
            return _SPENT.validate_python(parse_json(read_small(self.path / "spent.json")))
        return {}

    def spend(self, spent: dict[str, Cost]) -> None:
        """Store the total cost of all starts."""
        text = json.dumps(_SPENT.dump_python(spent, mode="json"), indent=2)
        self.write("spent.json", text + "\n")

    def note(self, name: str, value: object) -> None:
        """Add a field to the manifest's entry of this start."""
        manifest = self.manifest
        manifest["starts"][-1][name] = value
        self._write_manifest(manifest)

    def questions(self) -> dict[str, Question]:
        """Return the questions by id."""
        return {question.id: question for question in self._questions.values(_QUESTION)}

    def ask(self, questions: Iterable[Question]) -> None:
        """Store the questions, once for all episodes."""
        rows = (_QUESTION.dump_python(question, mode="json") for question in questions)
        self.write(self._questions.path.name, "".join(map(line_of, rows)))

    def finished(self) -> dict[str, int]:
        """Map each case with an episode and a score to the byte where its episode begins."""
        places = {place.case: place.at for place in self._scores.values(_PLACE)}
        sizes = [(at, 32 + 12 * len(case)) for case, at in places.items()]
        heads = self._episodes.heads(sizes)
        found = {case for case, head in zip(places, heads, strict=True) if _case_of(head) == case}
        moved = self._moved(places.keys() - found)
        return {c: moved.get(c, at) for c, at in places.items() if c in found or c in moved}

    def episodes(self) -> Iterator[tuple[Episode, Plain]]:
        """Yield the finished episodes, each with its row.

        A case that was played twice comes once; its last line counts.
        """
        return map(self._episode, self.finished().values())

    def episode(self, case: str) -> tuple[Episode, Plain]:
        """Return a case's finished episode with its row.

        Raises:
            RunError: The case has no finished episode.
        """
        finished = self.finished()
        if case not in finished:
            raise RunError(f"{str(self.path)!r} has no episode {case!r}")
        return self._episode(finished[case])

    def at(self, place: int) -> tuple[Episode, Plain]:
        """Return the episode at a byte from `finished`, with its row."""
        return self._episode(place)

    def holding(self, text: str, seat: str = "") -> Iterator[str]:
        """Yield the cases in which a text occurs and a seat wrote.

        The text may be in a unit, a side question or a reason; case is ignored. Lines without the
        text are skipped without parsing, which is fast.
        """
        wanted = text.lower()
        quoted, author = (json.dumps(one, ensure_ascii=False)[1:-1] for one in (wanted, seat))
        for at, line in self._episodes.placed():
            log = line.decode("utf-8", "surrogatepass")
            escaped = "\\u" in log or "\\/" in log  # such a text can be escaped in many ways
            if escaped or (author in log and quoted in log.lower()):
                _, row = self._episode(at)
                wrote = not seat or seat in _authors(row["log"])
                if wrote and (not wanted or any(wanted in s.lower() for s in _texts(row["log"]))):
                    yield row["case"]

    def scores(self) -> dict[str, Score]:
        """Return the scores by case; the last line of a case counts."""
        return {score.case: score for score in self._scores.values(_SCORE)}

    def add(self, episode: Episode, case: Case, score: Score) -> None:
        """Append a finished episode, then its score.

        Raises:
            RunError: One of them cannot be written.
        """
        row = {
            "case": episode.case,
            "question": case.question.id,
            "policy": type(case.policy).__name__,
            "labels": case.factors,
            "rival": case.rival,
            "finish": episode.finish,
            "sampled": episode.sampled,
            "stored": episode.stored,
            "costs": _COSTS.dump_python(episode.costs, mode="json"),
            "log": _EVENTS.dump_python(list(episode.trajectory.log), mode="json"),
        }
        self._scores.append(_line(self._episodes.append(row), score))

    def regrade(self, name: str, about: Plain, scores: Iterable[Score]) -> None:
        """Store later verdicts; `RunFolder(path, name)` reads them.

        Raises:
            RunError: They cannot be written, or another process is writing them.
        """
        places, later = self.finished(), RunFolder(self.path / "regraded" / name)
        with held(later.path, "collab regrade"):
            later.write("grader.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
            rows = (_line(places[score.case], score) for score in scores)
            later.write("scores.jsonl", "".join(map(line_of, rows)))

    def write(self, name: str, text: str) -> None:
        """Replace a whole file at once, so that readers never see half of it.

        Raises:
            RunError: It cannot be written; the old file stays.
        """
        aside = self.path / f".{name}.new"
        with written(self.path / name):
            with created(aside) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.path / name)

    def _open(self, decides: Plain, start: Plain, config: Plain, mark: str) -> None:
        decides = json.loads(json.dumps(decides, default=str))
        here = self.path / "manifest.json"
        new: Plain = {"decides": decides, "starts": []}
        manifest = self.manifest if here.exists() else new
        if manifest["decides"] != decides:
            keys = ", ".join(sorted(differing(manifest["decides"], decides)))
            raise RunError(
                f"{str(self.path)!r} holds a run with other settings: {keys}. "
                "Give this run another name=, or move the folder away"
            )
        manifest["id"] = manifest.get("id") or uuid4().hex
        manifest["config"], manifest["mark"] = config, mark
        manifest["starts"].append({**start, **_circumstances()})
        self._write_manifest(manifest)
        self._episodes.mend()
        self._scores.mend()

    def _moved(self, cases: Set[str]) -> dict[str, int]:
        """Find the episodes of cases in a file that was reformatted."""
        if not cases:
            return {}
        named = ((_case_of(line) or _case_in(line), at) for at, line in self._episodes.placed())
        return {case: at for case, at in named if case is not None and case in cases}

    def _write_manifest(self, manifest: Plain) -> None:
        text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str)
        self.write("manifest.json", text + "\n")

    def _episode(self, at: int) -> tuple[Episode, Plain]:
        row = self._episodes.row(at)
        try:
            read = _ROW.validate_python(row)
            trajectory = Trajectory.replay(read.log)
        except ValidationError as error:
            raise self._episodes.damaged_at(at, first_fault(error)) from None
        except (PolicyError, RecursionError, LookupError) as error:
            raise self._episodes.damaged_at(at, error) from None
        counts = read.sampled, read.stored
        return Episode(read.case, trajectory, read.finish, *counts, read.costs), row


def _line(at: int, score: Score) -> Plain:
    """Return a score's row, with the byte where its episode begins."""
    return {"at": at, **_SCORE.dump_python(score, mode="json")}


def _regraded(path: Path, verdicts: str) -> Path:
    """Return the file of later verdicts.

    Raises:
        RunError: No verdicts have that name; the message lists the names.
    """
    file = path / "regraded" / verdicts / "scores.jsonl"
    if not file.exists():
        there = ", ".join(sorted(one.parent.name for one in path.glob("regraded/*/scores.jsonl")))
        raise RunError(f"{str(path)!r} has no verdicts {verdicts!r} (verdicts: {there or 'none'})")
    return file


def _texts(value: object) -> Iterator[str]:
    """Yield the texts, side questions, replies and reasons at any depth of a log."""
    if isinstance(value, dict):
        yield from (value[key] for key in TEXTS if isinstance(value.get(key), str))
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                yield from _texts(inner)


def _authors(value: object) -> set[str]:
    """Return the authors of units at any depth of a log."""
    found: set[str] = set()
    if isinstance(value, dict) and isinstance(value.get("author"), str):
        found.add(value["author"])
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return found.union(*map(_authors, inner))
    return found


def _case_of(head: bytes) -> str | None:
    """Return the case at the beginning of an episode's line, or None."""
    if found := HEAD.match(head):
        with suppress(ValueError):
            return str(json.loads(found[1].decode("utf-8", "surrogatepass")))
    return None


def _case_in(line: bytes) -> str | None:
    """Return the case of an episode's line that begins with other keys."""
    with suppress(ValueError):
        case = JsonLines.row_of(line).get("case")
        return case if isinstance(case, str) else None
    return None


def _circumstances() -> Plain:
    return {
        "at": now(),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "versions": {"collab": installed(), **{name: installed(name) for name in PACKAGES}},
    }


def differing(one: object, other: object, key: str = "") -> Iterator[str]:
    """Yield the dotted keys in which two plain values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            inner = f"{key}.{name}" if key else str(name)
            yield from differing(one.get(name), other.get(name), inner)
    elif one != other:
        yield f"{key} ({one!r} there, {other!r} here)"


def _no_run(path: Path, error: OSError) -> str:
    """Describe a folder without a manifest, and name a run with a similar name next to it."""
    message = f"{str(path)!r} is not a run folder"
    if path.exists():
        return f"{message}: {error}"
    with suppress(OSError):
        names = sorted(file.parent.name for file in path.parent.glob("*/manifest.json"))
        begun = path.name.rstrip("….")
        near = next((name for name in names if begun and name.startswith(begun)), None)
        if found := near or nearest(path.name, names):
            return f"{message}; did you mean {str(path.parent / found)!r}?"
    return f"{message}: there is no such folder; collab ls lists the runs"
