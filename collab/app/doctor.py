"""Examine the endpoints of models: what they do with thoughts that they did not write."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from pathlib import Path

from collab.app.connect import ModelKit, connect
from collab.app.model_identity import checkpoint
from collab.config.config import ModelConfig, RunConfig
from collab.endpoints.doctor import Doctor, OnFinding
from collab.endpoints.launch import Launcher
from collab.endpoints.profile import Finding, ProbeVerdict, Profile
from collab.endpoints.replicas import difference


class SilentExamination:
    """A view of an examination that shows nothing; subclasses override its methods."""

    def address(self, title: str) -> AbstractContextManager[OnFinding]:
        """Show the examination of one address."""
        return nullcontext(lambda finding: None)

    def model(self, config: ModelConfig, profile: Profile, place: Path) -> None:
        """Show the profile of a model, and the file that keeps it."""


async def examine(
    configs: Sequence[RunConfig], view: SilentExamination | None = None
) -> list[Profile]:
    """Examine each model of some configs once, and keep its profile for later runs.

    Args:
        configs: The configs.
        view: Shows the findings; None: they are not shown.

    Raises:
        CollabError: An endpoint cannot be reached.
    """
    seated = [seat for config in configs for seat in config.team.values()]
    models = [model for model in seated if isinstance(model, ModelConfig)]
    profiles: list[Profile] = []
    async with AsyncExitStack() as stack:
        launcher = await stack.enter_async_context(Launcher())
        for nth, model in enumerate(models):
            if model not in models[:nth]:
                found = await _examine(model, configs[0].runs, launcher, view or _SILENT)
                profiles.append(found)
    return profiles


_SILENT = SilentExamination()


async def _examine(
    config: ModelConfig, runs: Path, launcher: Launcher, view: SilentExamination
) -> Profile:
    """Examine a model at each of its addresses; a difference between them is a finding."""
    kit = ModelKit.load(config, checkpoint(config))
    profile = await _examine_address(kit, None, launcher, view)
    for replica in config.replicas:
        other = await _examine_address(kit, replica, launcher, view)
        compared = _compare(profile, other, replica)
        profile = profile.model_copy(update={"findings": (*profile.findings, compared)})
    place = kit.place(runs)
    profile.save(place)
    view.model(config, profile, place)
    return profile


async def _examine_address(
    kit: ModelKit, replica: str | None, launcher: Launcher, view: SilentExamination
) -> Profile:
    config = kit.config
    limits = config.limits.model_copy(update={"retries": 1})
    where = replica or config.base_url or config.uds or "launched"
    known = f"dialect {config.dialect}, so far {kit.documented.checked}"
    endpoint = await connect(kit, kit.documented, launcher, limits, replica=replica)
    async with endpoint:
        tags = (config.think_open, config.think_close)
        with view.address(f"{kit.name} · {where} · {known}") as on_finding:
            doctor = Doctor(endpoint, kit.tokenizer, kit.dialect, tags, on_finding)
            return await doctor.examine()


def _compare(first: Profile, other: Profile, replica: str) -> Finding:
    """Compare the profile of another server of the same model with the first."""
    alike = {"findings": (), "checked": first.checked}
    found = difference(other.model_copy(update=alike), first.model_copy(update=alike))
    odd = [f"{one.probe}: {one.came}" for one in other.broken]
    came = "; ".join(filter(None, (*odd, found))) or "as the first"
    verdict: ProbeVerdict = "ok" if came == "as the first" else "broken"
    return Finding(probe="replica", tried=replica, came=came, verdict=verdict)
