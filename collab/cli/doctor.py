"""`collab doctor model=…`: check what an endpoint does with thoughts that it did not write."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collab.app.compose import add_config_arguments, expand_model_words, team_configs
from collab.app.doctor import SilentExamination, examine
from collab.config.config import ModelConfig
from collab.endpoints.doctor import OnFinding
from collab.endpoints.profile import Finding, ProbeVerdict, Profile
from collab.report.tables import print_whole
from collab.report.trajectory import safe

STYLES: dict[ProbeVerdict, str] = {
    "ok": "green",
    "limited": "yellow",
    "broken": "bold red",
    "untried": "dim",
}


def main(argv: list[str]) -> int:
    """Examine models, print the findings and keep them; return 1 if a model is broken."""
    parser = argparse.ArgumentParser(
        prog="collab doctor",
        description=__doc__,
        epilog="examples: collab doctor model=deepseek · collab doctor model=vllm "
        "model.id=Qwen/Qwen3-1.7B · collab doctor experiment=mixed_deepseek (every model of its "
        "team and of its sweep). `limited`: a run works with the endpoint; `broken`: a run stops "
        "before it begins.",
    )
    add_config_arguments(parser)
    words = parser.parse_args(argv)
    configs = team_configs(expand_model_words(words.overrides), words.config_dir, trust=words.trust)
    view = PrintedExamination(Console(highlight=False))
    profiles = asyncio.run(examine(configs, view))
    return 1 if any(profile.broken for profile in profiles) else 0


class PrintedExamination(SilentExamination):
    """Prints the findings of an examination as tables."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def address(self, title: str) -> Iterator[OnFinding]:
        """Print the findings at one address; a terminal shows each as it is made."""
        table, live = _table(title), self._console.is_terminal
        with Live(table, console=self._console) if live else nullcontext():
            yield lambda finding: _add(table, finding)
        if not live:
            print_whole(self._console, table)

    def model(self, config: ModelConfig, profile: Profile, place: Path) -> None:
        """Print which seats the model can take, and where its profile is kept."""
        console = self._console
        if config.replicas:
            print_whole(console, _table("replicas", profile.findings[-len(config.replicas) :]))
        seats = ", ".join(profile.seats)
        console.print(f"seats: {seats}; checked: {profile.checked}", style="bold")
        if profile.broken:
            console.print("a run with it stops before it begins (strict_prefill)", style="bold red")
        console.print(f"kept for later runs: {place}", soft_wrap=True, markup=False)


def _table(title: str, findings: Iterable[Finding] = ()) -> Table:
    table = Table(box=None, pad_edge=False, title=safe(title), title_justify="left")
    for column in ("probe", "tried", "came back", "verdict"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        _add(table, finding)
    return table


def _add(table: Table, finding: Finding) -> None:
    verdict = Text(finding.verdict, style=STYLES[finding.verdict])
    table.add_row(finding.probe, Text(safe(finding.tried)), Text(safe(finding.came)), verdict)
