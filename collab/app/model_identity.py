"""The identity of a model: its files, their hashes, and the weights that a server loads."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path

from collab.config.config import ModelConfig
from collab.endpoints.spec import Serves
from collab.endpoints.tokens import Tokenizer, model_folder
from collab.templates.template import Template

MOVING = {None, "", "main", "master", "latest"}
"""Revisions that may name other weights later."""
DATED = re.compile(
    r"20\d\d-?(0[1-9]|1[0-2])-?([0-2]\d|3[01])"  # 2024-08-06, 20250514
    r"|[-@](2\d(0[1-9]|1[0-2])|(0[1-9]|1[0-2])-?([0-2]\d|3[01]))(?![\d.])"  # 2411, 0528, 05-06
)
"""The dates in providers' names of models."""


def hashes(model: ModelConfig) -> dict[str, str]:
    """Return the hashes that decide a model's numbers.

    Raises:
        ConfigError: One of its files is missing or cannot be read.
    """
    folder = checkpoint(model)
    if folder is None:
        return {"identity": identity(model)}
    return {
        "identity": identity(model),
        "tokenizer": Tokenizer.load(folder).fingerprint,
        "template": Template.load(folder, model.template).hash,
    }


def checkpoint(model: ModelConfig) -> Path | None:
    """Find the folder with a model's tokenizer and template; None if the model names none."""
    if model.checkpoint is None:
        return None
    if model.checkpoint.startswith("pocket/"):
        from collab.pocket.server import find

        return find(model.checkpoint.removeprefix("pocket/"))
    at = f"@{model.revision}" if model.revision and not Path(model.checkpoint).exists() else ""
    return model_folder(model.checkpoint + at)


def identity(model: ModelConfig) -> str:
    """Name a model by its weights if they are in a folder, else by its id and commit.

    The precision is part of the name, as it changes draws. A model in the hub's cache is named by
    its commit, whether its weights are there too or not.
    """
    folder = checkpoint(model)
    weights = None if folder is None or _commit(folder) else _weights(folder)
    at = weights or revision(model)
    base = Path(model.id).name if weights else model.id
    parts = (f"{base}@{at}" if at else base, model.dtype, model.quantization)
    return "/".join(part for part in parts if part)


def revision(model: ModelConfig) -> str | None:
    """Return the commit of a model's revision if the hub's cache has it, else its name."""
    folder = checkpoint(model)
    return (folder and _commit(folder)) or model.revision


def is_known(model: ModelConfig) -> bool:
    """Tell whether the identity always names the same weights.

    If not, two runs may ask different models, and each keeps its draws to itself.
    """
    folder = checkpoint(model)
    fixed = revision(model) not in MOVING or DATED.search(model.id)
    return bool(fixed or (folder and _weights(folder)))


def serves(model: ModelConfig) -> Serves:
    """Return the files and settings that a server started for a model loads."""
    folder = checkpoint(model)
    local = folder is not None and not _commit(folder)
    return Serves(
        model=str(folder) if local else model.checkpoint or model.id,
        name=model.served or model.id,
        revision=None if local else revision(model),
        dtype=model.dtype,
        quantization=model.quantization,
        context=model.context,
    )


def _commit(folder: Path) -> str | None:
    """Return the commit of a folder in the hub's cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def _weights(folder: Path) -> str | None:
    """Hash the weights in a folder; None without weights."""
    shards = sorted(folder.glob("*.safetensors"))
    files = tuple((shard, shard.stat().st_size, shard.stat().st_mtime_ns) for shard in shards)
    return _hash(files) if shards else None


@lru_cache(64)
def _hash(shards: tuple[tuple[Path, int, int], ...]) -> str:
    hashed = sha256()
    for shard, _, _ in shards:
        with shard.open("rb") as file:
            hashed.update(file_digest(file, "sha256").digest())
    return hashed.hexdigest()[:12]
