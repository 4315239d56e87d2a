"""The pocket reasoners as a backend: many checkpoints in one process, each loaded on first use."""

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
    """Name the checkpoints that come with the package."""
    return sorted(path.parent.name for path in MODELS.glob("*/config.json"))


def find(model: str | Path) -> Path:
    """Return the folder of a shipped model, or of a checkpoint of one's own.

    Raises:
        ConfigError: There is neither.
    """
    for folder in (MODELS / model, Path(model)):
        if (folder / "config.json").is_file():
            return folder
    names = ", ".join(map(repr, shipped()))
    raise ConfigError(
        f"pocket model {str(model)!r} is neither shipped ({names}) nor a folder with a config.json"
    )


class Checkpoint:
    """One folder in Hugging Face's layout; what is heavy is read when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        own = _optional(folder / "generation_config.json")
        shape = ModelShape.read(folder)
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
        """The weights at work."""
        return Engine(PocketNetwork.load(self._folder), self.codec, self._ends)


class PocketBackend:
    """The backend over some checkpoints."""

    def __init__(self, models: Sequence[str | Path] = ()) -> None:
        folders = [find(model) for model in models or shipped()]
        self._checkpoints = {folder.name: Checkpoint(folder) for folder in folders}
        if len(self._checkpoints) < len(folders):
            names = ", ".join(repr(folder.name) for folder in folders)
            raise ConfigError(f"two models have one name ({names}); rename one of the folders")
        if not self._checkpoints:
            raise ConfigError("there is no pocket model to serve: name one, or a folder with one")

    @property
    def cards(self) -> Mapping[str, Card]:
        """The models by name."""
        return {name: checkpoint.card for name, checkpoint in self._checkpoints.items()}

    def encode(self, model: str, text: str, *, special: bool) -> list[int]:
        """Tokenize."""
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
    """Read a JSON file, empty where there is none (`Any`: JSON)."""
    loaded: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return loaded
