"""What a run says of models that may not stay what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from collab.app.model_identity import identity, is_known
from collab.config.config import ModelConfig


def notes(
    team: Mapping[str, ModelConfig], versions: Mapping[str, Mapping[str, int]]
) -> Iterator[str]:
    """Say which models' draws are the run's alone, and which came from more than one version.

    Args:
        team: The models by seat.
        versions: How many draws came from which version, by identity.
    """
    for seat, model in team.items():
        if not is_known(model):
            yield (
                f"{seat}: nobody can tell for how long {model.id!r} is the same model, so no other "
                f"run shares its draws; if you can, say so with team.{seat}.revision"
            )
        served = versions.get(identity(model), {})
        if len(served) > 1:
            counted = (f"{name or model.id!r} ({count:,} draws)" for name, count in served.items())
            yield f"{seat}{_said_of(model)} {', '.join(counted)}"


def _said_of(model: ModelConfig) -> str:
    if model.launch is not None and model.launch.kind == "pocket":
        return ": its draws come from more than one kernel (docs/pocket.md):"
    return " drifted: its server answered as"
