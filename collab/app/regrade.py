"""Grade the stored answers of a run again, next to the first verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from collab.app.graders import open_graders, with_judge
from collab.app.mark import why_foreign
from collab.app.model_identity import hashes
from collab.app.rebuild_config import CommandLine, rebuild_config
from collab.app.session import RunPlaces, seated
from collab.app.wants import Want, program_wants, seat_wants, store_wants
from collab.config.config import RunConfig
from collab.errors import ConfigError
from collab.report.live import RunProgress
from collab.report.starting import StartProgress
from collab.runs.cases import check_finished
from collab.runs.enclosed import reading
from collab.runs.lock import now
from collab.runs.regrade import Regraded, regrade
from collab.runs.run_folder import RunFolder, digest

MAY = ("grader", "team", "store", "strict_prefill", "concurrency")
"""The settings of a run that may change when it is graded again."""


@dataclass(frozen=True)
class RegradedRun:
    """The result of grading a run again."""

    made: Regraded
    path: Path
    """The file of the new verdicts."""
    draws: tuple[int, int] | None
    """The judge's generations sampled now and taken from the store; None without a judge."""


def load_regrading(folder: RunFolder, given: CommandLine, command: str) -> Regrading:
    """Return a run with the config to grade it again by.

    Raises:
        ConfigError: A setting may not change.
        RunError: The run has no finished episode.
    """
    config = rebuild_config(folder, given, MAY, _wants)
    with reading(folder.path):
        check_finished(folder)
    return Regrading(folder, config, command)


def _wants(config: RunConfig) -> list[Want]:
    """Return the wants of a config for grading, which opens only the judge's seat."""
    wanted = [*program_wants(config)]
    if config.grader.judge is not None:
        wanted += [*seat_wants(config, [config.grader.judge.seat]), *store_wants(config)]
    return wanted


@dataclass(frozen=True)
class Regrading:
    """A finished run, and the config to grade it again by."""

    folder: RunFolder
    config: RunConfig
    command: str
    """The command line, for the record."""

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

    async def grade(self, console: Console) -> RegradedRun:
        """Grade all episodes, and write the new verdicts next to the first ones.

        Args:
            console: Where progress is shown.
        """
        folder, config = self.folder, self.config
        questions = [*folder.questions().values()]
        draws = None
        async with (
            open_graders(config.grader, questions, self.kept) as rules,
            RunProgress(console).watching() as stages,
        ):
            if self.judge is None:
                made = await regrade(folder, rules, rules, self.closes, stages)
            else:
                async with seated(self.judge, self.places(console)) as (team, store):
                    judge = with_judge(config.grader, rules, team)
                    made = await regrade(folder, judge, rules, self.closes, stages)
                draws = store.sampled, store.served
        name = digest(self.about)
        folder.regrade(name, {**self.about, "at": now(), "command": self.command}, made.after)
        return RegradedRun(made, folder.path / "regraded" / name, draws)
