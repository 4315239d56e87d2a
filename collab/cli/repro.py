"""`collab repro 6`, `collab repro figure 4`: a table or figure of the paper, of runs of your own.

Picks the runs that it is a view of, plays what of them is not played yet, prints it, and says of
each claim that the paper reads from it whether these runs bear it out. Small on the shipped
reasoners; with --models the paper's questions, budget and sizes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collab.app.paper_runs import Player, shipped
from collab.app.trust import add_trust_argument
from collab.cli.run import print_played
from collab.endpoints.owner import owning
from collab.errors import ConfigError
from collab.report.checkpoints import (
    MEASURES,
    SeriesCheckpoint,
    differences_table,
    panels,
    shares_table,
)
from collab.report.claims import CLAIMS, PaperClaim, claims_of
from collab.report.evidence import Evidence
from collab.report.figure import Figure
from collab.report.paper import FIGURES, RUNS, TABLES, runs_of
from collab.report.paper_tables import NOTE, paper_tables, recovery_figure
from collab.report.tables import print_whole
from collab.report.trajectory import safe

CHECKPOINTS = "checkpoints"
COLOURS = {"true": "green", "false": "red", "undecided": "yellow"}


@dataclass(frozen=True)
class PaperItem:
    """One table or figure."""

    kind: str
    number: int

    @classmethod
    def read(cls, words: Sequence[str]) -> PaperItem:
        """Read `6`, `table 6` or `figure4`.

        Raises:
            ConfigError: There is no such table or figure.
        """
        said = " ".join(words)
        found = re.fullmatch(r"(?:(table|figure)\s*)?(\d+)", said.strip().lower())
        kind, number = (found[1] or "table", int(found[2])) if found else ("", 0)
        if number not in {"table": TABLES, "figure": FIGURES}.get(kind, ()):
            tables = ", ".join(map(str, TABLES))
            raise ConfigError(
                f"{said!r} is none of the paper's that runs can make (tables: {tables}; figure "
                f"{', '.join(map(str, FIGURES))}); collab repro --list says what each shows"
            )
        return cls(kind, number)

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.kind} {self.number}"

    @property
    def claims(self) -> list[PaperClaim]:
        """What the paper reads from it."""
        return list(claims_of(self.name))

    @property
    def runs(self) -> list[str]:
        """The runs that it and its claims need, those before that others need."""
        own = [FIGURES[self.number]] if self.kind == "figure" else runs_of(self.number)
        needed = [*own, *(run for claim in self.claims for run in claim.runs)]
        benches = [bench for run in needed if (bench := RUNS[run].bench)]
        return list(dict.fromkeys([*benches, *needed]))


def main(argv: list[str]) -> int:
    """Play what is owed, then print the table and the verdicts."""
    words = _parser().parse_intermixed_args(argv)
    console = Console()
    if words.list:
        print_whole(console, _listing())
        return 0
    overrides = [word for word in words.wanted if "=" in word]
    asked = [word for word in words.wanted if "=" not in word]
    models = [name for name in (words.models or "").split(",") if name]
    series = [_read_series(one) for one in words.series]
    models += [model for _, of in series for model in of]
    player = Player(console, models, overrides, words.config_dir, words.trust)
    player.say = lambda line: console.print(Text(safe(line), style="bold"))
    player.on_played = lambda played: print_played(played, console, tables=False)
    if asked == [CHECKPOINTS]:
        _checkpoints(player, series or [STAND_INS])
    elif series:
        raise ConfigError(f"--series goes with collab repro {CHECKPOINTS}, not with {asked}")
    else:
        _shown(player, PaperItem.read(asked))
    return 1 if player.failures else 0


def _shown(player: Player, wanted: PaperItem) -> None:
    """Make a table or figure, and judge its claims."""
    with owning():
        evidence = {run: list(player.trials(run)) for run in wanted.runs}
    player.console.print()
    _tell(wanted, evidence, player.console)
    if wanted.kind == "figure":
        figure = recovery_figure(evidence[FIGURES[wanted.number]])
        _draw(player, [figure], figure.key)


SeriesOf = tuple[str, Sequence[str]]
"""A name, and the models (`NAME` or `NAME@REVISION`) that are its checkpoints, in order."""
STAND_INS: SeriesOf = ("stand-ins", shipped("solo"))
"""The shipped reasoners, which are four models and no series: to see the pipeline work."""


def _read_series(said: str) -> SeriesOf:
    """Read `NAME=MODEL@REVISION,…`.

    Raises:
        ConfigError: It is no series.
    """
    name, _, models = said.partition("=")
    of = [model for model in models.split(",") if model]
    if not name or not of:
        raise ConfigError(
            f"--series {said!r} is no series: give NAME=MODEL,… or NAME=MODEL@REVISION,…, such as "
            "am=vllm@step_100,vllm@step_200"
        )
    return name, of


def _checkpoints(player: Player, series: Sequence[SeriesOf]) -> None:
    """Play each checkpoint through all three runs; print and draw what came of it."""
    with owning():
        found = [
            SeriesCheckpoint(
                name, model, {run: player.trial(run, model) for run, _ in MEASURES.values()}
            )
            for name, of in series
            for model in of
        ]
    player.console.print()
    for table in (shares_table(found), differences_table(found)):
        print_whole(player.console, table)
        player.console.print()
    if series == [STAND_INS]:
        player.console.print(
            "The shipped reasoners stand in for checkpoints: four models, of which no one was "
            "trained from another. Give your own with --series.",
            style="dim",
            soft_wrap=True,
        )
    _draw(player, panels(found), CHECKPOINTS)


def _draw(player: Player, figures: Sequence[Figure], name: str) -> None:
    """Write figures side by side into the runs' folder, and say where."""
    from collab.report.draw import draw_panels

    alt = "; ".join(figure.alt for figure in figures)
    for path in draw_panels(figures, player.runs / "figures" / name, alt):
        player.console.print(f"figure: {path}", markup=False, highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="collab repro", description=__doc__)
    parser.add_argument(
        "wanted",
        nargs="*",
        metavar="TABLE|FIGURE|checkpoints|KEY=VALUE",
        help="6, table 6, figure 4, or checkpoints (figures 5 to 7); KEY=VALUE changes the config "
        "of all its runs",
    )
    parser.add_argument(
        "--series",
        action="append",
        default=[],
        metavar="NAME=MODEL@REVISION,…",
        help="with `checkpoints`: the checkpoints of one training run, in order (repeatable)",
    )
    parser.add_argument("--list", action="store_true", help="what there is, and the runs it needs")
    parser.add_argument(
        "--models",
        metavar="NAME,…",
        help="files of conf/model to play instead of the shipped ones; with others than those, the "
        "runs have the paper's questions, budget and sizes",
    )
    parser.add_argument(
        "-cd",
        "--config-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with conf files of your own (repeatable)",
    )
    add_trust_argument(parser)
    return parser


def _tell(wanted: PaperItem, evidence: Evidence, console: Console) -> None:
    """Print the table and what becomes of its claims."""
    if wanted.kind == "table":
        for table in paper_tables(wanted.number, evidence):
            print_whole(console, table)
            console.print()
        console.print(NOTE, style="dim", soft_wrap=True)
    if not wanted.claims:
        console.print(f"The paper makes no claim from {wanted.name} alone.", soft_wrap=True)
    for claim in wanted.claims:
        claim_line(claim, evidence, console)


def claim_line(claim: PaperClaim, evidence: Evidence, console: Console) -> None:
    """Print one claim and its verdict."""
    found = claim.finding(evidence)
    verdict = Text(f"{found.verdict:9} ", style=COLOURS[found.verdict])
    console.print(verdict + Text(safe(claim.words)), soft_wrap=True)
    where = f"{claim.section}; {claim.scope}"
    console.print(Text(f"          paper ({where}): {claim.printed}", style="dim"), soft_wrap=True)
    console.print(Text(safe(f"          ours: {found.estimate}")), soft_wrap=True)


def _listing() -> Table:
    """List the tables and figures with their runs and claims."""
    table = Table(box=None, pad_edge=False)
    for head in ("collab repro", "runs (conf/experiment)", "claims"):
        table.add_column(head, no_wrap=True)
    names = [f"table {n}" for n in TABLES] + [f"figure {n}" for n in FIGURES]
    for name in names:
        wanted = PaperItem.read([name])
        claims = str(sum(name in claim.shown for claim in CLAIMS))
        table.add_row(name.removeprefix("table "), ", ".join(wanted.runs), claims)
    table.add_row(CHECKPOINTS, ", ".join(run for run, _ in MEASURES.values()), "0")
    return table
