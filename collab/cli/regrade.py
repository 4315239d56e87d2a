"""`collab regrade RUN grader=…`: grade a run's stored answers again, next to the first verdicts.

Nothing is sampled, except by a grader that is a model. Its earlier replies come from the store.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from collab.app.compose import add_config_arguments
from collab.app.graders import open_graders, with_judge
from collab.app.mark import why_foreign
from collab.app.model_identity import hashes
from collab.app.rebuild_config import CommandLine, rebuild_config
from collab.app.session import RunPlaces, seated
from collab.app.wants import Want, program_wants, seat_wants, store_wants
from collab.cli.show import no_episodes
from collab.config.config import RunConfig
from collab.core.secret import hide_words
from collab.errors import ConfigError
from collab.report.live import RunProgress
from collab.report.starting import StartProgress
from collab.report.tables import headlines, print_whole
from collab.report.trajectory import safe
from collab.runs.enclosed import reading
from collab.runs.lock import now
from collab.runs.regrade import Regraded, regrade
from collab.runs.run_folder import RunFolder, digest

MAY = ("grader", "team", "store", "strict_prefill", "concurrency")
"""The settings of a run that may change when it is graded again."""
SHOWN = 5


def main(argv: list[str]) -> int:
    """Grade again; return 1 if an answer could not be graded."""
    parser = argparse.ArgumentParser(
        prog="collab regrade",
        description=__doc__,
        epilog="example: collab regrade runs/demo/recoverability-… grader=paper; afterwards "
        "collab report and export take --verdicts NAME",
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    add_config_arguments(parser)
    words = parser.parse_intermixed_args(argv)
    folder = RunFolder(words.run)
    given = CommandLine(words.overrides, words.config_dir, words.trust)
    config = rebuild_config(folder, given, MAY, _wants)
    with reading(folder.path):
        if not folder.finished():
            raise no_episodes(folder)
    command = shlex.join(["collab", "regrade", *hide_words(argv)])
    return asyncio.run(_regrade(_Regrading(folder, config, command), Console(soft_wrap=True)))


def _wants(config: RunConfig) -> list[Want]:
    """Return the wants of a config for grading, which opens only the judge's seat."""
    wanted = [*program_wants(config)]
    if config.grader.judge is not None:
        wanted += [*seat_wants(config, [config.grader.judge.seat]), *store_wants(config)]
    return wanted


@dataclass(frozen=True)
class _Regrading:
    """A run, and the config to grade it by."""

    folder: RunFolder
    config: RunConfig
    command: str

    @property
    def judge(self) -> RunConfig | None:
        """The config with only the judge's seat; None without a judge.

        Raises:
            ConfigError: The team has no such seat.
        """
        judge, team = self.config.grader.judge, self.config.team
        if judge is None:
            return None
        if judge.seat not in team:
            raise ConfigError(
                f"grader.judge.seat={judge.seat!r} is no seat of this run (seats: "
                f"{', '.join(sorted(team))}); set it to one, or add model@team.{judge.seat}=…"
            )
        return self.config.model_copy(update={"team": {judge.seat: team[judge.seat]}})

    @property
    def about(self) -> dict[str, object]:
        """The settings that decide the verdicts."""
        models = self.judge.models if self.judge else {}
        judges = {seat: hashes(model) for seat, model in models.items()}
        return {"grader": self.config.grader.decides(), "models": judges}

    @property
    def closes(self) -> Sequence[str]:
        """The tags that close the thinking of the run's models."""
        models = self.config.models.values()
        return sorted({model.think_close for model in models if model.think_close})

    @property
    def kept(self) -> Path | None:
        """The folder that keeps verdicts; None for a run from elsewhere, which may forge them."""
        return None if why_foreign(self.folder) else self.config.runs

    def places(self, console: Console) -> RunPlaces:
        """Return the places for the judge's seat."""
        own = f"{self.config.name}/{digest(self.folder.manifest['decides'])}"
        return RunPlaces(self.folder.path, lambda: own, StartProgress(console))


async def _regrade(again: _Regrading, console: Console) -> int:
    folder, config, about = again.folder, again.config, again.about
    questions = [*folder.questions().values()]
    async with (
        open_graders(config.grader, questions, again.kept) as rules,
        RunProgress(console).watching() as stages,
    ):
        if again.judge is None:
            made = await regrade(folder, rules, rules, again.closes, stages)
            asked = ""
        else:
            async with seated(again.judge, again.places(console)) as (team, store):
                judge = with_judge(config.grader, rules, team)
                made = await regrade(folder, judge, rules, again.closes, stages)
            asked = f", {store.sampled} generations sampled, {store.served} from the store"
    name = digest(about)
    folder.regrade(name, {**about, "at": now(), "command": again.command}, made.after)
    _print_changes(made, console)
    done = f"done: {len(made.after)} episodes graded{asked}, {folder.path / 'regraded' / name}"
    console.print(safe(done), highlight=False, markup=False)
    console.print(safe(f"tables: collab report {folder.path} --verdicts {name}"), markup=False)
    return 1 if made.failures else 0


def _print_changes(made: Regraded, console: Console) -> None:
    print_whole(console, headlines({"at the run": made.before, "now": made.after}))
    changed = list(made.changed)
    changes = (f"{count} {old} → {new}" for (old, new), count in made.changes.most_common())
    console.print(f"{len(changed)} verdicts changed{': ' if changed else ''}{', '.join(changes)}")
    for old, new in changed[:SHOWN]:
        line = f"  {old.case}: {old.verdict} → {new.verdict} (given {new.extracted!r})"
        console.print(safe(line), highlight=False, markup=False)
    if len(changed) > SHOWN:
        console.print(f"  … and {len(changed) - SHOWN} more", style="dim")
    for case, error in list(made.failures.items())[:SHOWN]:
        console.print(safe(f"not graded: {case}: {error}"), style="red", markup=False)
    note = "  the cases were chosen by the first verdicts and stay the same"
    console.print(note, style="dim")
