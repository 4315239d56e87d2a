"""`collab doctor model=…`: try what an endpoint does with thoughts that are not its own."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collab.app.compose import add_config_arguments, seatings, spelled_out
from collab.app.connect import ModelKit, connect
from collab.app.model_identity import checkpoint
from collab.config.config import ModelConfig, RunConfig
from collab.endpoints.doctor import Doctor
from collab.endpoints.launch import Launcher
from collab.endpoints.profile import Finding, ProbeVerdict, Profile
from collab.endpoints.replicas import difference
from collab.report.tables import print_whole
from collab.report.trajectory import safe

STYLES: dict[ProbeVerdict, str] = {
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
        "team and of its sweep). `limited`: a run can live with it, and does; `broken`: a run "
        "stops before it begins.",
    )
    add_config_arguments(parser)
    asked = parser.parse_args(argv)
    configs = seatings(spelled_out(asked.overrides), asked.config_dir, trust=asked.trust)
    return asyncio.run(_examine(configs, Console(highlight=False)))


async def _examine(configs: Sequence[RunConfig], console: Console) -> int:
    seated = [seat for config in configs for seat in config.team.values()]
    models = [model for model in seated if isinstance(model, ModelConfig)]
    broken = 0
    async with AsyncExitStack() as stack:
        launcher = await stack.enter_async_context(Launcher())
        for nth, model in enumerate(models):
            if model not in models[:nth]:
                profile = await _one(model, configs[0].runs, launcher, console)
                broken += bool(profile.broken)
    return 1 if broken else 0


async def _one(config: ModelConfig, runs: Path, launcher: Launcher, console: Console) -> Profile:
    """Examine one model at each of its addresses; they have one profile, or there is a finding."""
    kit = ModelKit.read(config, checkpoint(config))
    profile = await _at(kit, None, launcher, console)
    for replica in config.replicas:
        other = await _at(kit, replica, launcher, console)
        profile = profile.model_copy(
            update={"findings": (*profile.findings, _compared(profile, other, replica))}
        )
    place = kit.place(runs)
    profile.save(place)
    if config.replicas:
        print_whole(console, _table("replicas", profile.findings[-len(config.replicas) :]))
    console.print(f"seats: {', '.join(profile.seats)}; checked: {profile.checked}", style="bold")
    if profile.broken:
        console.print("a run with it stops before it begins (strict_prefill)", style="bold red")
    console.print(f"kept for the runs to come: {place}", soft_wrap=True, markup=False)
    return profile


async def _at(kit: ModelKit, replica: str | None, launcher: Launcher, console: Console) -> Profile:
    """Examine a model at one address, showing each finding as it comes."""
    config = kit.config
    limits = config.limits.model_copy(update={"retries": 1})
    where = replica or config.base_url or config.uds or "launched"
    known = f"dialect {config.dialect}, so far {kit.documented.checked}"
    table = _table(f"{kit.name} · {where} · {known}")
    endpoint = await connect(kit, kit.documented, launcher, limits, replica=replica)
    async with endpoint:
        tags = (config.think_open, config.think_close)
        doctor = Doctor(endpoint, kit.tokenizer, kit.dialect, tags, lambda f: _add(table, f))
        with Live(table, console=console) if console.is_terminal else nullcontext():
            profile = await doctor.examine()
    if not console.is_terminal:
        print_whole(console, table)
    return profile


def _compared(first: Profile, other: Profile, replica: str) -> Finding:
    """Say whether a server of the same model is like the first."""
    alike = {"findings": (), "checked": first.checked}
    found = difference(other.model_copy(update=alike), first.model_copy(update=alike))
    odd = [f"{one.probe}: {one.came}" for one in other.broken]
    came = "; ".join(filter(None, (*odd, found))) or "as the first"
    verdict: ProbeVerdict = "ok" if came == "as the first" else "broken"
    return Finding(probe="replica", tried=replica, came=came, verdict=verdict)


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
