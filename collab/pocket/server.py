"""A backend that serves pocket reasoners: many checkpoints in one process, loaded on first use."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from collab.errors import ConfigError
from collab.pocket import kernel
from collab.pocket.codec import Codec
from collab.pocket.engine import Engine
from collab.pocket.model import ModelShape, PocketNetwork
from collab.serving import Card, ChatTemplate, ChatTurns, Defaults, Job, Piece

MODELS = Path(__file__).parent / "models"


def shipped() -> list[str]:
    """Return the names of the shipped checkpoints."""
    return sorted(path.parent.name for path in MODELS.glob("*/config.json"))


def find(model: str | Path) -> Path:
    """Return the folder of a shipped model, or of the user's own checkpoint.

    Raises:
        ConfigError: The model is neither.
    """
    for folder in (MODELS / model, Path(model)):
        if (folder / "config.json").is_file():
            return folder
    names = ", ".join(map(repr, shipped()))
    raise ConfigError(
        f"pocket model {str(model)!r} is neither shipped ({names}) nor a folder with a config.json"
    )


class Checkpoint:
    """A checkpoint in Hugging Face's layout; its heavy parts are loaded on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        own = _optional(folder / "generation_config.json")
        shape = ModelShape.load(folder)
        self.card = Card(shape.context, shape.vocabulary, _defaults(own), kernel.name())
        end = own.get("eos_token_id", _optional(folder / "config.json").get("eos_token_id"))
        self._ends = frozenset(end if isinstance(end, list) else [end]) - {None}

    @cached_property
    def codec(self) -> Codec:
        """The tokenizer."""
        return Codec(self._folder, self.card.vocabulary)

    @cached_property
    def template(self) -> ChatTemplate:
        """The chat template."""
        return ChatTemplate((self._folder / "chat_template.jinja").read_text())

    @cached_property
    def engine(self) -> Engine:
        """The engine, with the weights."""
        return Engine(PocketNetwork.load(self._folder), self.codec, self._ends)


class PocketBackend:
    """A backend that serves some checkpoints (default: all shipped ones)."""

    def __init__(self, models: Sequence[str | Path] = ()) -> None:
        folders = [find(model) for model in models or shipped()]
        self._checkpoints = {folder.name: Checkpoint(folder) for folder in folders}
        if len(self._checkpoints) < len(folders):
            names = ", ".join(repr(folder.name) for folder in folders)
            raise ConfigError(f"two models have the same name ({names}); rename a folder")
        if not self._checkpoints:
            raise ConfigError("no pocket model is shipped: name the folder of a checkpoint")

    @property
    def cards(self) -> Mapping[str, Card]:
        """The models by name."""
        return {name: checkpoint.card for name, checkpoint in self._checkpoints.items()}

    def encode(self, model: str, text: str, *, special: bool) -> list[int]:
        """Tokenize a text."""
        return self._checkpoints[model].codec.encode(text, special=special)

    def decode(self, model: str, ids: Sequence[int]) -> str:
        """Turn token ids into text."""
        return self._checkpoints[model].codec.decode(ids)

    def render(self, model: str, chat: ChatTurns, *, generate: bool, continue_final: bool) -> str:
        """Apply the checkpoint's chat template."""
        return self._checkpoints[model].template.render(
            chat, generate=generate, continue_final=continue_final
        )

    def complete(self, job: Job) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of all choices."""
        return self._checkpoints[job.model].engine.complete(job)


def _defaults(config: Mapping[str, Any]) -> Defaults:
    return Defaults(
        temperature=config.get("temperature", 1.0),
        top_p=config.get("top_p", 1.0),
        top_k=config.get("top_k", -1),
        min_p=config.get("min_p", 0.0),
    )


def _optional(path: Path) -> dict[str, Any]:
    """Read a JSON file; return {} if it does not exist (`Any`: JSON)."""
    loaded: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return loaded
