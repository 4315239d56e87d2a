"""`collab run`: play one run, or with -m a sweep of them, through Hydra."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from collab.app import launchers
from collab.app.downloads import downloads
from collab.app.error_line import error_line
from collab.app.outside import open_checked
from collab.app.overrides import CONF, composing, quiet
from collab.app.plan import plan_run
from collab.app.probe import probe_speed
from collab.app.run import PlayedRun, play_run
from collab.app.terminal import program_name
from collab.config.config import Built, build, read_config
from collab.core.secret import hide_words
from collab.endpoints.owner import owning
from collab.errors import CollabError, ConfigError
from collab.report.sweep import print_sweep
from collab.report.tables import astray, bills, print_whole, summary
from collab.report.trajectory import safe

USAGE = """usage: collab run [KEY=VALUE …] [-m] [-v] [-cd DIR] [--trust] [--help] [Hydra's flags]

Play a scenario and print its table. Generations that are stored are not sampled again.
  collab run experiment=demo                          both tests on the shipped reasoners
  collab run twin=guidability budget=600              one test, another budget
  collab run -m model@team.main=pocket_plain,pocket_checking
  collab run -m -v …                                  print all tables of each run of a sweep
  collab run -m hydra/launcher=processes …            jobs in parallel (docs/sweeps.md)
  collab run --cfg job                                print the composed config
  collab run policy=nonsense                          list the policies
"""


FLAGS = ("--trust", "-v", "--verbose")
"""The flags of this command; the others are Hydra's."""


class JobFailed(CollabError):
    """A job failed in another process than the command's, which has printed the error."""


_failed: dict[int, int] = {}
"""The number of failed jobs, by the id of the command's process; empty in a job's process."""

_verbose = False
"""Whether the runs of a sweep print all their tables."""


def main(argv: list[str]) -> int:
    """Open outside conf folders, then hand the command line to Hydra."""
    if {"-h", "--help"} & set(argv):
        print(USAGE, end="")
        return 0
    global _verbose
    _verbose = bool({"-v", "--verbose"} & set(argv))
    folders, rest = _config_dirs([word for word in argv if word not in FLAGS])
    open_checked(_overrides(rest), folders, trust="--trust" in argv)
    program = program_name()
    with _as_command(rest), quiet(), owning():  # later jobs use the servers of earlier ones
        launchers.pass_on(folders)
        try:
            hydra.main(config_path=f"pkg://{CONF}", config_name="config", version_base="1.3")(job)()
        except JobFailed as failed:
            launchers.report_first_failure(failed)
            _failed[os.getpid()] += 1
        except (HydraException, OmegaConfBaseException) as error:
            with composing(_overrides(rest)):
                raise error
        except Exception as error:  # a launcher may raise anything
            raise launchers.explain_launcher(error) from None
        for folder in launchers.take_sweeps():
            print_sweep(folder, Console(soft_wrap=True), program)
        return 1 if _failed[os.getpid()] else 0


@contextmanager
def _as_command(words: Sequence[str]) -> Iterator[None]:
    """Give Hydra the words as the process's own, and restore the process afterwards."""
    argv, environment = sys.argv, dict(os.environ)
    sys.argv = ["collab run", *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us, and we print them in one line
    _failed[os.getpid()] = 0
    try:
        yield
    finally:
        launchers.take_sweeps()  # of a sweep that an error ended
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)


def _overrides(words: Sequence[str]) -> list[str]:
    """Return the words of a command line that change the config."""
    return [word for word in words if word.startswith("~") or re.match(r"[^-=][^=]*=", word)]


def _config_dirs(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the folders of `-cd DIR` and `--config-dir DIR`, and the rest."""
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
    """Play one composed config; print an error instead of raising it, so that a sweep continues.

    Raises:
        JobFailed: The job failed in a process that a launcher started for it.
    """
    here = os.getpid() in _failed
    try:
        if not here:
            launchers.begin_job()
        built = build(read_config(composed))
        command = shlex.join(["collab", "run", *hide_words(HydraConfig.get().overrides.task)])
        console = Console(soft_wrap=True)
        sweep = launchers.current_sweep()
        if sweep is not None:
            number, words = HydraConfig.get().job.num, HydraConfig.get().overrides.task
            heading = sweep.heading(number, words)
            console.print(safe(heading), style="bold", markup=False, highlight=False)
        asyncio.run(_announce(built, console))
        played = asyncio.run(play_run(built, command, console, live=here))
        print_played(played, console, tables=here and (sweep is None or _verbose))
        failures = len(played.result.failures)
        why = f"{failures} cases failed"
    except BrokenPipeError:  # the reader of the output has gone
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


async def _announce(built: Built, console: Console) -> None:
    """Print what is downloaded first and, where the config asks for it, how long the run takes."""
    for file in downloads(built.config):
        console.print(safe(f"to download: {file}"), highlight=False, markup=False)
    if built.config.estimate is None:
        return
    speed = await probe_speed(built, built.config.estimate)
    planned = await plan_run(built)
    said = speed and speed.describe(planned.draws, most=not planned.exact)
    console.print(said or "time: unknown, as no solo draw was sampled", highlight=False)


def print_played(played: PlayedRun, console: Console, *, tables: bool = True) -> None:
    """Print the tables of a run, its failures and what this start sampled."""
    if tables:
        _print_tables(played, console)
        _print_next_steps(played, console)
    result, path = played.result, played.run.path
    for case, error in list(result.failures.items())[:3]:
        console.print(safe(f"failed: {case}: {error}"), style="red", markup=False)
    if len(result.failures) > 3:
        more = len(result.failures) - 3
        console.print(f"… and {more} more failed; see {path / 'run.log'}", markup=False)
    console.print(
        f"done: {len(result.scores)} episodes, {played.sampled} generations sampled, "
        f"{played.served} from the store, {path}",
        highlight=False,
        markup=False,
    )


def _print_tables(played: PlayedRun, console: Console) -> None:
    """Print the tables of a run, and the cost of each seat."""
    console.print()
    result, status = played.result, played.run.status
    shown = summary(status.title, status.by, result.scores, result.notes, status.published)
    print_whole(console, shown)
    for line in bills(played.run.folder.spent):
        console.print(f"  {safe(line)}", highlight=False, markup=False)


def _print_next_steps(played: PlayedRun, console: Console) -> None:
    """Print how to see the whole run, and a case that a steer led astray."""
    path = played.run.path
    lines = [f"see it: collab view {path} (or open {path / 'report.html'})"]
    if lost := astray(played.result.scores):
        more = f"{len(lost)} cases were" if len(lost) > 1 else "1 case was"
        lines.append(f"{more} led astray, such as: collab show {path} {shlex.quote(lost[0])}")
    for line in lines:
        console.print(safe(line), highlight=False, markup=False)
