"""The files that a run must download from the hub before it can start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from collab.config.config import ModelConfig, RunConfig
from collab.core.gguf import is_gguf


def downloads(config: RunConfig) -> Iterator[str]:
    """Yield each GGUF file that is not on this machine yet, with its size if a conf states it."""
    found = {
        model.checkpoint: model.about.download
        for model in config.team.values()
        if isinstance(model, ModelConfig) and model.checkpoint and is_missing(model.checkpoint)
    }
    for name, size in found.items():
        yield f"{name} ({f'{size:g} GB' if size else 'size unknown'})"


def is_missing(checkpoint: str) -> bool:
    """Tell whether a checkpoint is a GGUF file of the hub that its cache does not have."""
    if not is_gguf(checkpoint) or Path(checkpoint).exists():
        return False
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return True
    name, _, revision = checkpoint.partition("@")
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    cached = try_to_load_from_cache(f"{owner}/{repo}", file, revision=revision or None)
    return not isinstance(cached, str)
