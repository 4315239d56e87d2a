"""Plan a sweep: each run's episodes and tokens, and the sum with what the runs share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.jupyter import JupyterMixin
from rich.text import Text

from collab.app.background import run_sync
from collab.app.compose import composed
from collab.app.error_line import collab_errors
from collab.app.overrides import override_words
from collab.app.plan import DrawCounts, RunPlan, plan_run
from collab.app.sweep import sweep_jobs
from collab.config.config import Built
from collab.report.formatting import PlainTable
from collab.report.trajectory import safe


@dataclass(frozen=True, repr=False)
class SweepPlan(JupyterMixin):
    """The runs of a sweep before they are played."""

    jobs: Sequence[tuple[Sequence[str], RunPlan]]
    """The words of each run, and its plan."""

    @property
    def solos(self) -> DrawCounts:
        """The solo draws; one that several runs need counts once where it is to be sent."""
        stored = sum(draws.stored for draws in self._counts())
        return DrawCounts(stored, len(frozenset().union(*(plan.owed for _, plan in self.jobs))))

    @property
    def shared(self) -> int:
        """The solo draws that are sent once although several runs need them."""
        return sum(draws.owed for draws in self._counts()) - self.solos.owed

    @property
    def most_episodes(self) -> int:
        """The number of episodes, or an upper bound while solo draws are owed."""
        return sum(plan.most_episodes for _, plan in self.jobs)

    @property
    def most_tokens(self) -> int:
        """An upper bound of the tokens to sample."""
        twice = self.shared * max((plan.budget for _, plan in self.jobs), default=0)
        return sum(plan.most_tokens for _, plan in self.jobs) - twice

    @property
    def draws(self) -> int:
        """The solo draws and episodes to come, at most."""
        return self.solos.owed + sum(plan.draws - len(plan.owed) for _, plan in self.jobs)

    @property
    def exact(self) -> bool:
        """Whether it is known which episodes there are."""
        return all(plan.exact for _, plan in self.jobs)

    def __repr__(self) -> str:
        """Return the sums."""
        return "\n".join(self._sums())

    def __rich__(self) -> RenderableType:
        """Return a table with a row for each run, then the sums."""
        table = PlainTable()
        table.head("run")
        for column in ("solo draws to send", "episodes", "to play", "tokens at most"):
            table.head(column, right=True)
        uses = Counter(word for words, _ in self.jobs for word in words)
        for words, plan in self.jobs:
            own = " ".join(word for word in words if uses[word] < len(self.jobs))
            table.add_row(own or " ".join(words), *_cells(plan))
        return Group(table, *(Text(safe(line)) for line in self._sums()))

    def _sums(self) -> Iterator[str]:
        solos, shared = self.solos, self.shared
        once = f" ({shared:,} more are shared: each is sent once)" if shared else ""
        yield f"{len(self.jobs)} runs: {solos.owed:,} solo draws to send{once}"
        most = "" if self.exact else "at most "
        yield f"episodes: {most}{self.most_episodes:,}; tokens: at most {self.most_tokens:,}"
        yield from dict.fromkeys(line for _, plan in self.jobs for line in plan.remarks)

    def _counts(self) -> Iterator[DrawCounts]:
        for _, plan in self.jobs:
            yield from (one for one in plan.solos.values() if isinstance(one, DrawCounts))


def _cells(plan: RunPlan) -> Iterator[str]:
    yield f"{sum(one.owed for one in plan.solos.values() if isinstance(one, DrawCounts)):,}"
    most = "at most " if plan.episodes is None else ""
    yield f"{most}{plan.most_episodes:,}"
    yield "–" if plan.episodes is None else f"{plan.episodes.owed:,}"
    yield f"{plan.most_tokens:,}"


def plan_sweep(
    *overrides: str,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    **settings: object,
) -> SweepPlan:
    """Plan the runs that `sweep` would play; nothing is sent.

        import collab

        print(collab.plan_sweep("experiment=demo"))

    Args:
        overrides: As in `sweep`.
        config_dirs: As in `run`.
        trust: As in `run`.
        settings: As in `sweep`.

    Raises:
        CollabError: A setting is wrong, or a checkpoint cannot be read.
    """
    return run_sync(aplan_sweep(*overrides, config_dirs=config_dirs, trust=trust, **settings))


async def aplan_sweep(
    *overrides: str,
    config_dirs: Sequence[str | Path] = (),
    trust: bool = False,
    **settings: object,
) -> SweepPlan:
    """Plan a sweep as `plan_sweep` does, in the running event loop."""
    words = override_words(overrides, settings)
    with collab_errors():
        jobs = sweep_jobs(words, config_dirs, trust=trust)
        return await plan_jobs(jobs, [composed(job, config_dirs, trust=trust) for job in jobs])


async def plan_jobs(jobs: Sequence[Sequence[str]], runs: Sequence[Built]) -> SweepPlan:
    """Plan the runs of a sweep.

    Args:
        jobs: The words of each run.
        runs: The runs, in the same order.
    """
    return SweepPlan([(job, await plan_run(built)) for job, built in zip(jobs, runs, strict=True)])
