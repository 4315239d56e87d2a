"""`collab repro 6`, `collab repro figure 4`: reproduce a table or figure of the paper.

Play the runs that the table needs, print it, and check each claim of the paper about it. The runs
are small with the shipped reasoners; with --models they have the paper's questions, budget and
sizes.
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
    """One table or figure of the paper."""

    kind: str
    number: int

    @classmethod
    def parse(cls, words: Sequence[str]) -> PaperItem:
        """Parse `6`, `table 6` or `figure4`.

        Raises:
            ConfigError: There is no such table or figure.
        """
        text = " ".join(words)
        found = re.fullmatch(r"(?:(table|figure)\s*)?(\d+)", text.strip().lower())
        kind, number = (found[1] or "table", int(found[2])) if found else ("", 0)
        if number not in {"table": TABLES, "figure": FIGURES}.get(kind, ()):
            tables = ", ".join(map(str, TABLES))
            raise ConfigError(
                f"{text!r} is no table or figure that runs can reproduce (tables: {tables}; "
                f"figures: {', '.join(map(str, FIGURES))}); collab repro --list describes them"
            )
        return cls(kind, number)

    @property
    def name(self) -> str:
        """The name, such as `table 6`."""
        return f"{self.kind} {self.number}"

    @property
    def claims(self) -> list[PaperClaim]:
        """The claims of the paper about it."""
        return list(claims_of(self.name))

    @property
    def runs(self) -> list[str]:
        """The runs that it and its claims need, in the order in which they depend on each other."""
        own = [FIGURES[self.number]] if self.kind == "figure" else runs_of(self.number)
        needed = [*own, *(run for claim in self.claims for run in claim.runs)]
        benches = [bench for run in needed if (bench := RUNS[run].bench)]
        return list(dict.fromkeys([*benches, *needed]))


def main(argv: list[str]) -> int:
    """Play the runs, then print the table and the verdicts on its claims."""
    words = _parser().parse_intermixed_args(argv)
    console = Console()
    if words.list:
        print_whole(console, _listing())
        return 0
    overrides = [word for word in words.wanted if "=" in word]
    items = [word for word in words.wanted if "=" not in word]
    models = [name for name in (words.models or "").split(",") if name]
    series = [_parse_series(text) for text in words.series]
    models += [model for _, of in series for model in of]
    player = Player(console, models, overrides, words.config_dir, words.trust)
    player.say = lambda line: console.print(Text(safe(line), style="bold"))
    player.on_played = lambda played: print_played(played, console, tables=False)
    if items == [CHECKPOINTS]:
        _checkpoints(player, series or [STAND_INS])
    elif series:
        raise ConfigError(f"--series goes with collab repro {CHECKPOINTS}, not with {items}")
    else:
        _reproduce(player, PaperItem.parse(items))
    return 1 if player.failures else 0


def _reproduce(player: Player, wanted: PaperItem) -> None:
    """Make a table or figure, and check its claims."""
    with owning():
        evidence = {run: list(player.trials(run)) for run in wanted.runs}
    player.console.print()
    _print_item(wanted, evidence, player.console)
    if wanted.kind == "figure":
        figure = recovery_figure(evidence[FIGURES[wanted.number]])
        _draw(player, [figure], figure.key)


SeriesOf = tuple[str, Sequence[str]]
"""A name, and its checkpoints in order: models `NAME` or `NAME@REVISION`."""
STAND_INS: SeriesOf = ("stand-ins", shipped("solo"))
"""The shipped reasoners, which are no series but show the pipeline at work."""


def _parse_series(text: str) -> SeriesOf:
    """Parse `NAME=MODEL@REVISION,…`.

    Raises:
        ConfigError: The text is no series.
    """
    name, _, models = text.partition("=")
    of = [model for model in models.split(",") if model]
    if not name or not of:
        raise ConfigError(
            f"--series {text!r} is no series: give NAME=MODEL,… or NAME=MODEL@REVISION,…, such as "
            "am=vllm@step_100,vllm@step_200"
        )
    return name, of


def _checkpoints(player: Player, series: Sequence[SeriesOf]) -> None:
    """Play each checkpoint through all three runs; print and draw the results."""
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
            "The shipped reasoners replace checkpoints here: four models, none of them trained "
            "from another. Give your own with --series.",
            style="dim",
            soft_wrap=True,
        )
    _draw(player, panels(found), CHECKPOINTS)


def _draw(player: Player, figures: Sequence[Figure], name: str) -> None:
    """Write figures next to each other into the runs' folder, and print the files."""
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
    parser.add_argument("--list", action="store_true", help="list the tables and figures")
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


def _print_item(wanted: PaperItem, evidence: Evidence, console: Console) -> None:
    """Print the table and the verdicts on its claims."""
    if wanted.kind == "table":
        for table in paper_tables(wanted.number, evidence):
            print_whole(console, table)
            console.print()
        console.print(NOTE, style="dim", soft_wrap=True)
    if not wanted.claims:
        console.print(f"The paper makes no claim from {wanted.name}.", soft_wrap=True)
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
        wanted = PaperItem.parse([name])
        claims = str(sum(name in claim.shown for claim in CLAIMS))
        table.add_row(name.removeprefix("table "), ", ".join(wanted.runs), claims)
    table.add_row(CHECKPOINTS, ", ".join(run for run, _ in MEASURES.values()), "0")
    return table
