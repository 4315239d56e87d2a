"""`collab run`: one run, or with -m a sweep of them, through Hydra."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from collab.app.drift import notes
from collab.app.mark import mark_of
from collab.app.outside import open_checked
from collab.app.overrides import CONF, one_line, quiet
from collab.app.prompts import Prompts
from collab.app.session import decides, opened
from collab.app.terminal import is_wanted
from collab.cli import sweep
from collab.cli.fault import error_line
from collab.config.config import Built, build, read_config
from collab.core.cost import Cost
from collab.core.secret import hide_words
from collab.endpoints.owner import owning
from collab.episode.team import Team
from collab.errors import CollabError, ConfigError
from collab.questions.cohort import Cohort
from collab.reasoners.model import Model
from collab.report.live import RunProgress
from collab.report.page import write_report
from collab.report.runs import RunSummary
from collab.report.starting import StartProgress
from collab.report.tables import astray, bills, print_whole, summary
from collab.report.trajectory import safe
from collab.runs.live_view import LiveView
from collab.runs.run import RunResult, Setup, run
from collab.runs.run_folder import RunFolder, RunStatus, digest
from collab.scenarios.base import Score
from collab.store.store import Store

log = logging.getLogger(__name__)
USAGE = """usage: collab run [KEY=VALUE …] [-m] [-cd DIR] [--trust] [--help] [Hydra's own flags]

Plays a scenario and prints its table; what was sampled before is not sampled again.
  collab run experiment=demo                          both tests on the shipped reasoners
  collab run twin=guidability budget=600              one test, another budget
  collab run -m model@team.main=pocket_plain,pocket_checking
  collab run -m hydra/launcher=processes …            jobs side by side (docs/sweeps.md)
  collab run --cfg job                                the composed config
  collab run policy=nonsense                          lists the policies there are
"""


class JobFailed(CollabError):
    """A job failed in another process than the one that swept it, and has said so there."""


_failed: dict[int, int] = {}
"""How many jobs failed in this process, where it is the one that took the command."""


def main(argv: list[str]) -> int:
    """Hand the command line to Hydra; outside conf folders are opened first."""
    if {"-h", "--help"} & set(argv):
        print(USAGE, end="")
        return 0
    folders, rest = _config_dirs([word for word in argv if word != "--trust"])
    open_checked(_overrides(rest), folders, trust="--trust" in argv)
    with _as_command(rest), quiet(), owning():  # what one job of a sweep starts, others use
        sweep.hand_on(folders)
        try:
            hydra.main(config_path=f"pkg://{CONF}", config_name="config", version_base="1.3")(job)()
        except JobFailed as failed:
            sweep.tell_why(failed)
            _failed[os.getpid()] += 1
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(one_line(error)) from None
        except Exception as error:  # a launcher raises what it likes
            raise sweep.explained(error) from None
        sweep.print_sweep(Console())
        return 1 if _failed[os.getpid()] else 0


@contextmanager
def _as_command(words: Sequence[str]) -> Iterator[None]:
    """Be what Hydra takes for the program for a while, and leave no trace."""
    argv, environment = sys.argv, dict(os.environ)
    sys.argv = ["collab run", *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, who say them in a line
    _failed[os.getpid()] = 0
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)


def _overrides(words: Sequence[str]) -> list[str]:
    """Return the words of a command line that change the config."""
    return [word for word in words if word.startswith("~") or re.match(r"[^-=][^=]*=", word)]


def _config_dirs(argv: list[str]) -> tuple[list[str], list[str]]:
    """Take `-cd DIR` and `--config-dir DIR` out of a command line."""
    folders: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word in ("-cd", "--config-dir"):
            folder = next(words, None)
            if folder is None:
                raise ConfigError(f"{word} needs a folder")
            folders.append(folder)
        elif word.startswith("--config-dir="):
            folders.append(word.partition("=")[2])
        else:
            rest.append(word)
    return folders, rest


def job(composed: DictConfig) -> None:
    """Play one composed config; what goes wrong is printed, and the sweep goes on.

    Raises:
        JobFailed: It was not played to its end, and a launcher runs it in a process of its own.
    """
    here = os.getpid() in _failed
    try:
        if not here:
            sweep.begin_elsewhere()
        built = build(read_config(composed))
        command = shlex.join(["collab", "run", *hide_words(HydraConfig.get().overrides.task)])
        failures = asyncio.run(play(built, command, Console(soft_wrap=True), whole=here))
        why = f"{failures} cases failed"
    except BrokenPipeError:  # nobody reads on
        raise
    except Exception as error:
        if (line := error_line(error)) is None:
            raise
        why = safe(line)
        print(f"error: {why}", file=sys.stderr)
        failures = 1
    if failures and not here:
        raise JobFailed(why)
    if failures:
        _failed[os.getpid()] += 1


async def play(
    built: Built, command: str, console: Console, *, whole: bool = True, tables: bool = True
) -> int:
    """Play a built config in its folder, tell of it, and return how many cases failed.

    Args:
        built: The config.
        command: What the manifest notes of this start.
        console: Where to tell.
        whole: Whether to show progress and tables, or the last line alone.
        tables: Whether to show tables.
    """
    deciding = decides(built)
    path = place(built, deciding)
    start = {"command": command, "questions": built.questions.origin(built.config.runs)}
    published = getattr(built.scenario, "published", "")
    standing = RunStatus(_title(built), built.scenario.by, published=published)
    config = built.config.told()
    with (
        RunFolder.enter(path, deciding, start, config, mark_of(config)) as folder,
        _log_to(path),
        _standing(folder, standing),
    ):
        async with (
            opened(built, run=path, tell=StartProgress(console), payer=folder.id) as (setup, store),
            _accounted(folder, store),
            _answered(folder, store),
        ):
            folder.ask(setup.questions)
            before_now = folder.scores().values() if console.is_terminal else ()
            shown = Console(force_terminal=False) if is_wanted(setup.team) else console
            live = RunProgress(shown if whole else Console(quiet=True), LiveView(path), before_now)
            gc.freeze()  # looking through all that was imported would hold the loop for 20 ms
            async with live.watching(setup.team):
                result = await run(setup, folder, live)
            drift = notes(built.config.models, await store.versions())
            noted = [*result.notes, *cohort_of(built), *recorded(setup), *drift, known(setup.team)]
            result = replace(result, notes=noted)
        standing = replace(standing, cases=result.cases, notes=result.notes)
        folder.write_status(replace(standing, failures=result.failures))
        spent = folder.spent
    write_report(RunSummary(folder), Prompts(folder))
    if whole and tables:
        _tabulate(result, standing, spent, console)
        _point(result.scores, path, console)
    _tell(result, store, path, console)
    return len(result.failures)


def _tabulate(
    result: RunResult, standing: RunStatus, spent: Mapping[str, Cost], console: Console
) -> None:
    """Print a run's tables, and what each seat has cost."""
    console.print()
    title, by, published = standing.title, standing.by, standing.published
    print_whole(console, summary(title, by, result.scores, result.notes, published))
    for line in bills(spent):
        console.print(f"  {safe(line)}", highlight=False, markup=False)


@asynccontextmanager
async def _accounted(folder: RunFolder, store: Store) -> AsyncIterator[None]:
    """Copy what was spent from the store to the folder, however a start ends."""
    try:
        yield
    except BaseException:
        with suppress(CollabError):  # what ends the start is told already
            folder.spend(await store.spent())
        raise
    folder.spend(await store.spent())


@asynccontextmanager
async def _answered(folder: RunFolder, store: Store) -> AsyncIterator[None]:
    """Note which versions of the models answered, by draws, however a start ends."""
    try:
        yield
    finally:
        with suppress(CollabError):  # what ended the start is said in its place
            folder.note("answered", await store.versions())


@contextmanager
def _standing(folder: RunFolder, new: RunStatus) -> Iterator[None]:
    """Note what ends a start before its time, for whoever finds the folder later."""
    folder.write_status(replace(folder.status or new, stopped=""))
    try:
        yield
    except Exception as error:
        if (line := error_line(error)) is not None:
            log.error("stopped: %s", line)
            with suppress(CollabError):  # a full disk, of which the error tells already
                folder.write_status(replace(folder.status or new, stopped=line))
        raise


def place(built: Built, deciding: dict[str, object]) -> Path:
    """Return the folder of a run: the same for the same experiment, alone or in a sweep."""
    config = built.config
    scenario, policy = type(built.scenario).__name__.lower(), type(built.policy).__name__.lower()
    return config.runs / config.name / f"{scenario}-{policy}-{digest(deciding)}"


def recorded(setup: Setup) -> Iterator[str]:
    """Say which seats played recorded traces."""
    wanted = setup.scenario.solos()
    for seat, traces in setup.recorded.items():
        yield traces.describe(seat, setup.questions, wanted[seat])


def known(team: Team) -> str:
    """Say of each model how it is known what its endpoint does."""
    models = {seat: one for seat, one in sorted(team.seats.items()) if isinstance(one, Model)}
    checked = [f"{seat} {one.endpoint.profile.checked}" for seat, one in models.items()]
    return f"endpoints checked: {', '.join(checked)}"


def cohort_of(built: Built) -> list[str]:
    """Say which frozen questions were asked, where they are."""
    path = getattr(built.questions, "cohort", None)
    if path is None:
        return []
    cohort = Cohort.load(path)
    return [f"cohort {path} (hash {cohort.digest}): {cohort}"]


def _title(built: Built) -> str:
    team = ", ".join(
        f"{seat} {model.id}" for seat, model in built.config.team.items() if model.kind == "model"
    )
    return f"{type(built.scenario).__name__} · {team}"


def _point(scores: Sequence[Score], path: Path, console: Console) -> None:
    """Say where to look next: at all of it, and at a case where a steer led astray."""
    lines = [f"see it: collab view {path} (or open {path / 'report.html'})"]
    if lost := astray(scores):
        more = f"{len(lost)} cases were" if len(lost) > 1 else "1 case was"
        lines.append(f"{more} led astray, such as: collab show {path} {shlex.quote(lost[0])}")
    for line in lines:
        console.print(safe(line), highlight=False, markup=False)


def _tell(result: RunResult, store: Store, path: Path, console: Console) -> None:
    for case, error in list(result.failures.items())[:3]:
        console.print(safe(f"failed: {case}: {error}"), style="red", markup=False)
    if len(result.failures) > 3:
        more = len(result.failures) - 3
        console.print(f"… and {more} more failed; see {path / 'run.log'}", markup=False)
    console.print(
        f"done: {len(result.scores)} episodes, {store.sampled} generations sampled, "
        f"{store.served} from the store, {path}",
        highlight=False,
        markup=False,
    )


class _Safe(logging.Formatter):
    """Writes out what would act on a terminal; what follows a line break is no line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return safe(super().format(record)).replace("\n", "\n    ")


class _Log(logging.FileHandler):
    """A file whose loss stops nothing: a full disk is told of by what cannot do without it."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Go on."""

    def close(self) -> None:
        """Close it, whatever of it could not be written."""
        with suppress(OSError):
            super().close()


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send collab's log to a run's own file for a while."""
    handler = _Log(path / "run.log", encoding="utf-8")
    handler.setFormatter(_Safe("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("collab")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
