"""Play a scenario from Python: the same run, in the same folder, as `collab run`."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from collab.app.background import run_sync
from collab.app.compose import composed, refuse_sweep
from collab.app.drift import drift_notes
from collab.app.error_line import collab_errors, error_line
from collab.app.mark import mark_of
from collab.app.overrides import override_words
from collab.app.prompts import Prompts
from collab.app.run_log import logging_to
from collab.app.session import decides, opened
from collab.app.terminal import is_wanted
from collab.app.unjudged import unjudged_notes
from collab.config.config import Built
from collab.config.target import target_of
from collab.core.policy import Policy
from collab.core.secret import hide_words
from collab.episode.team import Team
from collab.errors import CollabError
from collab.questions.cohort import Cohort
from collab.reasoners.model import models_of
from collab.report.hooks import EndedRun, RunEnd, StartedRun
from collab.report.hooks.calls import HookCalls
from collab.report.live import RunProgress
from collab.report.notebook import Run
from collab.report.page import write_report
from collab.report.runs import RunSummary
from collab.report.starting import StartProgress
from collab.report.trajectory import safe
from collab.runs.live_view import LiveView
from collab.runs.run import RunResult, Setup
from collab.runs.run import run as play_cases
from collab.runs.run_folder import RunFolder, RunStatus, digest
from collab.store.store import Store

log = logging.getLogger(__name__)
ODDITIES = 6
"""Kinds of odd replies that a note names."""


def run(
    *overrides: str,
    policy: Policy | str | None = None,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool = True,
    **settings: object,
) -> Run:
    """Play a scenario and return the run, as `collab run` does in the shell.

        import collab

        run = collab.run("twin=recoverability_small", budget=400, questions={"count": 4})
        print(run)

    The run's folder, its digest and its stored generations are those of the same words in the
    shell. An interrupted or finished run continues where it was: nothing is sampled twice. Works
    in scripts, in notebooks and where an event loop is running.

    Args:
        overrides: Changes to the config, such as `"team=pair"` or `"scenario.points=[0.4]"`.
        policy: A policy value that replaces the config's, or the name of one in `conf/policy`.
        config_dirs: Folders with conf files and modules of your own (`-cd` in the shell).
        trust: Allow these folders to start programs, send, and read other files (`--trust`).
        progress: Show progress on stderr, or in the notebook.
        settings: Further changes by keyword: `budget=600` is `"budget=600"`, and
            `questions={"count": 4}` is `"questions.count=4"`.

    Returns:
        The run. Cases that could not be played are in its `failures`.

    Raises:
        CollabError: A setting is wrong, a server cannot be reached, or the run cannot continue.
            Everything that was sampled is stored.
    """
    return run_sync(
        arun(
            *overrides,
            policy=policy,
            config_dirs=config_dirs,
            trust=trust,
            progress=progress,
            **settings,
        )
    )


async def arun(
    *overrides: str,
    policy: Policy | str | None = None,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    progress: bool = True,
    **settings: object,
) -> Run:
    """Play a scenario as `run` does, in the running event loop."""
    words = override_words(overrides, settings, policy)
    value = None if isinstance(policy, str) else policy
    with collab_errors():
        refuse_sweep(words, config_dirs, trust=trust)
        built = with_policy_settings(composed(words, config_dirs, value, trust=trust), value)
        console = Console(stderr=True, quiet=not progress)
        return await play_visibly(built, python_call("run", words), console)


async def play_visibly(built: Built, command: str, console: Console) -> Run:
    """Play a run, and show where it is and whether cases failed."""
    run = (await play_run(built, command, console)).run
    if run.failures:
        case, error = next(iter(run.failures.items()))
        line = f"{len(run.failures)} cases failed (see failures), such as {case}: {error}"
        console.print(safe(line), style="red", markup=False, highlight=False)
    console.print(safe(repr(run)), markup=False, highlight=False, soft_wrap=True)
    return run


def python_call(verb: str, words: Sequence[str]) -> str:
    """Write the Python call that a manifest records as the command of a start."""
    return f"collab.{verb}({', '.join(map(repr, hide_words(words)))})"


def with_policy_settings(built: Built, policy: Policy | None) -> Built:
    """Describe a policy value in the config, so that its settings decide the run's digest.

    Raises:
        ConfigError: A setting of the policy has no JSON form.
    """
    if policy is None:
        return built
    config = built.config.model_copy(update={"policy": target_of(policy, "policy")})
    return built.model_copy(update={"config": config})


@dataclass(frozen=True)
class PlayedRun:
    """A run after one start, with the counts of this start."""

    run: Run
    result: RunResult
    sampled: int
    """Generations that this start sampled."""
    served: int
    """Generations that came from the store."""


async def play_run(built: Built, command: str, console: Console, *, live: bool = True) -> PlayedRun:
    """Play the missing episodes of a run in its folder, and write its report.

    Args:
        built: The config.
        command: The command that the manifest records for this start.
        console: Where to show the start of servers and the progress.
        live: Show the progress of the episodes.

    Raises:
        CollabError: The run cannot continue; finished episodes are kept.
    """
    deciding = decides(built)
    path = run_path(built, deciding)
    start = {"command": command, "questions": built.questions.origin(built.config.runs)}
    published = getattr(built.scenario, "published", "")
    status = RunStatus(_title(built), built.scenario.by, published=published)
    config = built.config.for_manifest()
    with (
        RunFolder.enter(path, deciding, start, config, mark_of(config)) as folder,
        logging_to(path),
        _recording_stop(folder, status),
    ):
        async with (
            _calling_hooks(built, folder, status) as hooks,
            opened(built, run=path, tell=StartProgress(console), payer=folder.id, golds=True) as (
                setup,
                store,
            ),
            _recording_costs(folder, store),
            _recording_versions(folder, store),
        ):
            folder.ask(setup.questions)
            earlier = folder.scores().values() if console.is_terminal else ()
            shown = Console(force_terminal=False) if is_wanted(setup.team) else console
            view = RunProgress(
                shown if live else Console(quiet=True), LiveView(path), earlier, hooks
            )
            with _frozen_heap():
                async with view.watching(setup.team):
                    result = await play_cases(setup, folder, view)
            drift = drift_notes(built.config.models, await store.versions())
            checked = checked_endpoints(setup.team)
            odd = oddity_notes(setup.team)
            lost = unjudged_notes(folder.scores().values())
            added = [*setup.notes, *cohort_notes(built), *recording_notes(setup), *lost, *drift]
            added += [*odd, checked]
            result = replace(result, notes=[*result.notes, *added])
            status = replace(status, cases=result.cases, notes=result.notes)
            folder.write_status(replace(status, failures=result.failures))
    write_report(RunSummary(folder), Prompts(folder))
    return PlayedRun(Run(folder), result, store.sampled, store.served)


@asynccontextmanager
async def _calling_hooks(
    built: Built, folder: RunFolder, new: RunStatus
) -> AsyncIterator[HookCalls]:
    """Report the start of a run to its hooks, and its end however it comes."""
    calls = HookCalls(built.hooks, folder.scores().values() if built.hooks else ())
    name = f"{built.config.name}/{folder.path.name}"
    config = built.config.for_manifest()
    calls.started(StartedRun(name, new.title, folder.path.resolve(), config))
    stopped = True
    try:
        yield calls
        stopped = False
    finally:
        if built.hooks:
            failures = {} if stopped else dict((folder.status or new).failures)
            state: RunEnd = "stopped" if stopped else "failed" if failures else "finished"
            ended = EndedRun(state, len(folder.scores()), failures)
            await asyncio.to_thread(calls.ended, ended)


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Keep the garbage collector out of all imported code, which would block the loop for 20 ms."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@asynccontextmanager
async def _recording_costs(folder: RunFolder, store: Store) -> AsyncIterator[None]:
    """Copy the costs from the store to the folder, however the start ends."""
    try:
        yield
    except BaseException:
        with suppress(CollabError):  # the first error is the one to report
            folder.spend(await store.spent())
        raise
    folder.spend(await store.spent())


@asynccontextmanager
async def _recording_versions(folder: RunFolder, store: Store) -> AsyncIterator[None]:
    """Record how many draws each version of a model answered, however the start ends."""
    try:
        yield
    finally:
        with suppress(CollabError):  # the first error is the one to report
            folder.note("answered", await store.versions())


@contextmanager
def _recording_stop(folder: RunFolder, new: RunStatus) -> Iterator[None]:
    """Record the error that ends a start early in the run's status and log."""
    folder.write_status(replace(folder.status or new, stopped=""))
    try:
        yield
    except Exception as error:
        if (line := error_line(error)) is not None:
            log.error("stopped: %s", line)
            with suppress(CollabError):  # a full disk, which the error itself reports
                folder.write_status(replace(folder.status or new, stopped=line))
        raise


def run_path(built: Built, deciding: dict[str, object]) -> Path:
    """Return the folder of a run: the same for the same experiment, also within a sweep."""
    config = built.config
    policy = type(built.policy).__name__
    name = f"{_scenario_name(built)}-{policy}".lower()
    return config.runs / config.name / f"{name}-{digest(deciding)}"


def recording_notes(setup: Setup) -> Iterator[str]:
    """Yield a note for each seat that played recorded traces."""
    wanted = setup.scenario.solos()
    for seat, traces in setup.recorded.items():
        yield traces.describe(seat, setup.questions, wanted[seat])


def checked_endpoints(team: Team) -> str:
    """Return a note that says for each model how its endpoint was checked."""
    models = sorted(models_of(team).items())
    checked = [f"{seat} {model.endpoint.profile.checked}" for seat, model in models]
    return f"endpoints checked: {', '.join(checked)}"


def oddity_notes(team: Team) -> Iterator[str]:
    """Yield a note for each model whose server sent odd replies, which were used all the same."""
    for seat, model in sorted(models_of(team).items()):
        if odd := model.endpoint.oddities:
            counted = sorted(odd.items(), key=lambda pair: (-pair[1], pair[0]))
            named = ", ".join(f"{what} ({count:,}×)" for what, count in counted[:ODDITIES])
            more = f" and {len(odd) - ODDITIES} others" if len(odd) > ODDITIES else ""
            yield f"{seat}: odd replies of its server were used: {named}{more}"


def cohort_notes(built: Built) -> list[str]:
    """Return a note on the frozen questions that were asked, if there are any."""
    path = getattr(built.questions, "cohort", None)
    if path is None:
        return []
    cohort = Cohort.load(path)
    return [f"cohort {path} (hash {cohort.digest}): {cohort}"]


def _title(built: Built) -> str:
    team = ", ".join(
        f"{seat} {model.id}" for seat, model in built.config.team.items() if model.kind == "model"
    )
    return f"{_scenario_name(built)} · {team}"


def _scenario_name(built: Built) -> str:
    """Return the name of the scenario, such as `Solo` of `SoloScenario`."""
    return type(built.scenario).__name__.removesuffix("Scenario")
