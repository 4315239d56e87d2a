"""Notes on models that may change during a run or between runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from collab.app.model_identity import identity, is_known
from collab.config.config import ModelConfig


def drift_notes(
    team: Mapping[str, ModelConfig], versions: Mapping[str, Mapping[str, int]]
) -> Iterator[str]:
    """Yield a note for each model without a fixed version, and for each that changed its version.

    Args:
        team: The models by seat.
        versions: The number of draws from each version, by the model's identity.
    """
    for seat, model in team.items():
        if not is_known(model):
            yield (
                f"{seat}: {model.id!r} may change without notice, so no other run shares its "
                f"draws; if its version is fixed, set team.{seat}.revision"
            )
        served = versions.get(identity(model), {})
        if len(served) > 1:
            counted = (f"{name or model.id!r} ({count:,} draws)" for name, count in served.items())
            yield f"{seat}{_changed(model)} {', '.join(counted)}"


def _changed(model: ModelConfig) -> str:
    if model.launch is not None and model.launch.kind == "pocket":
        return ": its draws come from more than one kernel (docs/pocket.md):"
    return " drifted: its server answered as"
