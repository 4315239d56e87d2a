"""`collab regrade RUN grader=…`: judge a run's stored answers again, beside the first verdicts.

Nothing is sampled, but by a grader that is a model, and what it has said before is in the store.
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
from collab.cli.show import empty
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
"""What of a run's config decides how it is judged, or with what means."""
SHOWN = 5


def main(argv: list[str]) -> int:
    """Judge again; 1 where an answer could not be judged."""
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
            raise empty(folder)
    command = shlex.join(["collab", "regrade", *hide_words(argv)])
    return asyncio.run(_regrade(_Again(folder, config, command), Console(soft_wrap=True)))


def _wants(config: RunConfig) -> list[Want]:
    """Return what judging would do of what a config wants: a judge alone is seated, and stored."""
    wanted = [*program_wants(config)]
    if config.grader.judge is not None:
        wanted += [*seat_wants(config, [config.grader.judge.seat]), *store_wants(config)]
    return wanted


@dataclass(frozen=True)
class _Again:
    """A run, and how it is to be judged."""

    folder: RunFolder
    config: RunConfig
    command: str

    @property
    def judge(self) -> RunConfig | None:
        """The config with the judge's seat alone; None where rules judge.

        Raises:
            ConfigError: Nobody sits there.
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
        """What decides the verdicts."""
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
        """Where verdicts are kept: those beside a run from elsewhere may be anybody's."""
        return None if why_foreign(self.folder) else self.config.runs

    def places(self, console: Console) -> RunPlaces:
        """Return where a judge does its work."""
        own = f"{self.config.name}/{digest(self.folder.manifest['decides'])}"
        return RunPlaces(self.folder.path, lambda: own, StartProgress(console))


async def _regrade(again: _Again, console: Console) -> int:
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
    _tell(made, console)
    done = f"done: {len(made.after)} episodes judged{asked}, {folder.path / 'regraded' / name}"
    console.print(safe(done), highlight=False, markup=False)
    console.print(safe(f"tables: collab report {folder.path} --verdicts {name}"), markup=False)
    return 1 if made.failures else 0


def _tell(made: Regraded, console: Console) -> None:
    print_whole(console, headlines({"at the run": made.before, "now": made.after}))
    changed = list(made.changed)
    said = (f"{count} {old} → {new}" for (old, new), count in made.changes.most_common())
    console.print(f"{len(changed)} verdicts changed{': ' if changed else ''}{', '.join(said)}")
    for old, new in changed[:SHOWN]:
        line = f"  {old.case}: {old.verdict} → {new.verdict} (given {new.extracted!r})"
        console.print(safe(line), highlight=False, markup=False)
    if len(changed) > SHOWN:
        console.print(f"  … and {len(changed) - SHOWN} more", style="dim")
    for case, error in list(made.failures.items())[:SHOWN]:
        console.print(safe(f"not judged: {case}: {error}"), style="red", markup=False)
    note = "  which cases there are was decided by the first verdicts, and stays as it is"
    console.print(note, style="dim")
