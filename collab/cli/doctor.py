"""`collab doctor model=…`: try what an endpoint does with thoughts that are not its own."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collab.cli.compose import add_config_arguments, config_of, spelled_out
from collab.cli.connect import Kit, connect
from collab.cli.weights import checkpoint
from collab.config import ModelConfig, RunConfig
from collab.endpoints.doctor import Doctor
from collab.endpoints.launch import Launcher
from collab.endpoints.profile import Finding, Profile, Verdict
from collab.report.tables import print_whole
from collab.report.trajectory import safe

STYLES: dict[Verdict, str] = {
    "ok": "green",
    "limited": "yellow",
    "broken": "bold red",
    "untried": "dim",
}


def main(argv: list[str]) -> int:
    """Examine models, print what was found and keep it; 1 where one is broken."""
    parser = argparse.ArgumentParser(
        prog="collab doctor",
        description=__doc__,
        epilog="examples: collab doctor model=deepseek · collab doctor model=vllm "
        "model.id=Qwen/Qwen3-1.7B · collab doctor experiment=mixed_deepseek (every model of its "
        "team). `limited`: a run can live with it, and does; `broken`: a run stops before it "
        "begins.",
    )
    add_config_arguments(parser)
    asked = parser.parse_args(argv)
    config = config_of(spelled_out(asked.overrides), asked.config_dir)
    return asyncio.run(_examine(config, Console(highlight=False)))


async def _examine(config: RunConfig, console: Console) -> int:
    models = [model for model in config.team.values() if isinstance(model, ModelConfig)]
    broken = 0
    async with AsyncExitStack() as stack:
        launcher = await stack.enter_async_context(Launcher())
        for nth, model in enumerate(models):
            if model not in models[:nth]:
                profile = await _one(model, config.runs, launcher, console)
                broken += bool(profile.broken)
    return 1 if broken else 0


async def _one(config: ModelConfig, runs: Path, launcher: Launcher, console: Console) -> Profile:
    """Examine one model, showing each finding as it comes."""
    kit = Kit.read(config, checkpoint(config))
    limits = config.limits.model_copy(update={"retries": 1})
    table = _table(kit, config)
    endpoint = await connect(kit, kit.documented, launcher, limits)
    async with endpoint:
        tags = (config.think_open, config.think_close)
        doctor = Doctor(endpoint, kit.tokenizer, kit.dialect, tags, lambda f: _add(table, f))
        with Live(table, console=console) if console.is_terminal else nullcontext():
            profile = await doctor.examine()
    if not console.is_terminal:
        print_whole(console, table)
    place = kit.place(runs)
    profile.save(place)
    console.print(f"seats: {', '.join(profile.seats)}; checked: {profile.checked}", style="bold")
    if profile.broken:
        console.print("a run with it stops before it begins (strict_prefill)", style="bold red")
    console.print(f"kept for the runs to come: {place}", soft_wrap=True, markup=False)
    return profile


def _table(kit: Kit, config: ModelConfig) -> Table:
    where = config.base_url or config.uds or "launched"
    known = f"dialect {config.dialect}, so far {kit.documented.checked}"
    title = safe(f"{kit.name} · {where} · {known}")
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in ("probe", "tried", "came back", "verdict"):
        table.add_column(column, overflow="fold")
    return table


def _add(table: Table, finding: Finding) -> None:
    verdict = Text(finding.verdict, style=STYLES[finding.verdict])
    table.add_row(finding.probe, finding.tried, Text(safe(finding.came)), verdict)
