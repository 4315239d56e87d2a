"""The identity of a model: its files, their hashes, and the weights that a server loads."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path

from collab.config.config import ModelConfig
from collab.core.gguf import Gguf
from collab.endpoints.spec import Serves
from collab.endpoints.tokens import Tokenizer, model_files
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
    """Find the folder or GGUF file with a model's tokenizer and template; None if it names none."""
    if model.checkpoint is None:
        return None
    if model.checkpoint.startswith("pocket/"):
        from collab.pocket.server import find

        return find(model.checkpoint.removeprefix("pocket/"))
    at = f"@{model.revision}" if model.revision and not Path(model.checkpoint).exists() else ""
    return model_files(model.checkpoint + at)


def identity(model: ModelConfig) -> str:
    """Name a model by its weights if they are in a folder or GGUF file, else by id and commit.

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


def trained_context(folder: Path | None) -> int | None:
    """Return the longest context by a model's files (tokens); None where they do not say."""
    if folder is None:
        return None
    if folder.is_file():
        return Gguf.load(folder).context
    file = folder / "config.json"
    said = json.loads(file.read_text()).get("max_position_embeddings") if file.exists() else None
    return said if isinstance(said, int) else None


def _commit(folder: Path) -> str | None:
    """Return the commit of a folder in the hub's cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def _weights(folder: Path) -> str | None:
    """Hash the weights in a folder, or a GGUF file; None without weights."""
    if folder.is_file():
        return _sha256(*_version(folder)).hex()[:12]
    shards = sorted(folder.glob("*.safetensors"))
    return _hash(tuple(map(_version, shards))) if shards else None


def _version(file: Path) -> tuple[Path, int, int]:
    seen = file.stat()
    return file, seen.st_size, seen.st_mtime_ns


@lru_cache(64)
def _hash(shards: tuple[tuple[Path, int, int], ...]) -> str:
    hashed = sha256()
    for shard in shards:
        hashed.update(_sha256(*shard))
    return hashed.hexdigest()[:12]


@lru_cache(64)
def _sha256(path: Path, size: int, changed: int) -> bytes:
    """Hash a file, once per version of it."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").digest()
