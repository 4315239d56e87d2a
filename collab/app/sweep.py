"""Play several runs from Python, one after the other, as `collab run -m` does in the shell."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console
from rich.text import Text

from collab.app.background import run_sync
from collab.app.compose import composed
from collab.app.error_line import collab_errors, error_line
from collab.app.outside import open_checked
from collab.app.overrides import composing, override_words
from collab.app.run import play_visibly, python_call, with_policy_settings
from collab.core.policy import Policy
from collab.endpoints.owner import owning
from collab.errors import ConfigError, SweepError
from collab.report.notebook import Run
from collab.report.trajectory import safe

log = logging.getLogger(__name__)


def sweep(
    *overrides: str,
    policy: Policy | str | None = None,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool = True,
    **settings: object,
) -> list[Run]:
    """Play one run for each combination of values, as `collab run -m` does in the shell.

        import collab

        small = {"questions": {"count": 4}, "budget": 400}
        models = "model@team.main=pocket_plain,pocket_checking"
        plain, checking = collab.sweep("twin=recoverability_small", models, **small)

    The runs lie in the same folders as those of the shell. They share servers and stored
    generations. An interrupted sweep continues where it was. For jobs in parallel or on a cluster,
    use a launcher from the shell.

    Args:
        overrides: Changes to the config; values separated by commas are swept over, as are those
            that the experiment's file sweeps over.
        policy: As in `run`, for all runs.
        config_dirs: As in `run`.
        trust: As in `run`.
        progress: As in `run`.
        settings: As in `run`: one value each; a list is one value.

    Returns:
        The runs, in the order of Hydra's multirun: the last word changes fastest.

    Raises:
        SweepError: Some runs could not be played. All others were; they are in its `runs`.
        ConfigError: The words do not compose.
    """
    return run_sync(
        asweep(
            *overrides,
            policy=policy,
            config_dirs=config_dirs,
            trust=trust,
            progress=progress,
            **settings,
        )
    )


async def asweep(
    *overrides: str,
    policy: Policy | str | None = None,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool = True,
    **settings: object,
) -> list[Run]:
    """Play several runs as `sweep` does, in the running event loop."""
    words = override_words(overrides, settings, policy)
    value = None if isinstance(policy, str) else policy
    console = Console(stderr=True, quiet=not progress)
    with collab_errors():
        jobs = sweep_jobs(words, config_dirs, trust=trust)
    runs: list[Run] = []
    failures: dict[str, str] = {}
    with owning():  # later jobs use the servers that an earlier one started
        for number, job in enumerate(jobs):
            console.print(Text(safe(f"#{number} {' '.join(job)}"), style="bold"))
            try:
                built = composed(job, config_dirs, value, trust=trust)
                built = with_policy_settings(built, value)
                runs.append(await play_visibly(built, python_call("run", job), console))
            except Exception as error:
                if (line := error_line(error)) is None:
                    raise
                log.error("%s: %s", " ".join(job), line)
                failures[" ".join(job)] = line
    if failures:
        raise SweepError(_describe(failures, len(jobs)), runs, failures)
    return runs


def sweep_jobs(
    words: Sequence[str], config_dirs: Sequence[str | Path] = (), *, trust: bool = False
) -> list[list[str]]:
    """Return the words of each job of a sweep, expanded by Hydra's own sweeper.

    Raises:
        ConfigError: The words do not compose, or choose a launcher.
    """
    open_checked(words, [str(folder) for folder in config_dirs], trust=trust)
    with composing(words):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        own = parser.parse_overrides([*words])
        _refuse_launchers(word.key_or_group for word in own)
        (plain,) = BasicSweeper.split_arguments([w for w in own if not w.is_sweep_override()], None)
        file = compose("config", overrides=plain[0], return_hydra_config=True).hydra.sweeper
        swept = [f"{key}={value}" for key, value in (file.get("params") or {}).items()]
        (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides([*swept, *words]), None)
    return [list(job) for job in jobs]


def _refuse_launchers(keys: Iterable[str]) -> None:
    if any(key.startswith(("hydra/launcher", "hydra.launcher")) for key in keys):
        raise ConfigError("a launcher needs the shell: collab run -m hydra/launcher=…")


def _describe(failures: Mapping[str, str], jobs: int) -> str:
    """Name the first runs that failed, and why."""
    first, *others = failures.items()
    more = f" (and {len(others)} more: see failures)" if others else ""
    return (
        f"{len(failures)} of {jobs} runs could not be played: {first[0]}: {first[1]}{more}; "
        "the other runs are in runs, and the same call continues"
    )
