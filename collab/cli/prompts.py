"""The exact prompts of a run that was played, laid out again from its files; nothing is sent.

They are those that were sent, or an error says why nobody can be certain: tokenizer, template and
the number of tokens must be what the run noted of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from pydantic import TypeAdapter, ValidationError

from collab.cli.connect import Kit
from collab.cli.weights import checkpoint, hashes
from collab.config import ModelConfig, SeatConfig
from collab.endpoints.dialects import Dialect
from collab.endpoints.placement import Placed, Placement
from collab.endpoints.tokens import Tokenizer
from collab.errors import RunError
from collab.folder import RunFolder
from collab.lines import Plain
from collab.model import legible
from collab.trajectory import Question, Trajectory, Unit

_TEAM: TypeAdapter[dict[str, SeatConfig]] = TypeAdapter(dict[str, SeatConfig])
_PLACEMENT: TypeAdapter[Placement] = TypeAdapter(Placement)


Reader = tuple[Dialect, Tokenizer | None]


class Prompts:
    """Lays out what the writers of a run read."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._readers: dict[str, Reader] = {}

    def __call__(self, question: str, unit: Unit, before: Trajectory) -> str:
        """Return the prompt that a unit's author was sent, as text.

        Args:
            question: The id of the question.
            unit: What its author wrote.
            before: The trajectory that it was to continue.

        Raises:
            CollabError: It cannot be told for certain.
        """
        seat = unit.author
        if seat not in self._readers:
            self._readers[seat] = self._reader(seat)
        dialect, tokenizer = self._readers[seat]
        messages = self._questions[question].messages
        laid = dialect.prompt(messages, before, unit.phase, seat)
        if laid.seams != unit.seams:
            sent = unit.seams.tokens if unit.seams else 0
            raise RunError(
                f"the prompt of seat {seat!r} is not to be had for certain: {sent} tokens were "
                f"sent, and laid out again it has {laid.seams.tokens}"
            )
        return legible(laid.prompt, tokenizer)

    @cached_property
    def _questions(self) -> Mapping[str, Question]:
        return self._folder.questions()

    @cached_property
    def _manifest(self) -> Plain:
        return self._folder.manifest

    def _reader(self, seat: str) -> Reader:
        """Return how a seat's model is spoken to, checked against what the run noted."""
        config = self._manifest["config"]
        try:
            model = _TEAM.validate_python(config["team"])[seat]
            placement = _PLACEMENT.validate_python(config["placement"])
        except (KeyError, ValidationError) as error:
            raise RunError(
                f"the manifest does not say how seat {seat!r} was asked: {error}"
            ) from None
        if not isinstance(model, ModelConfig):
            raise RunError(f"seat {seat!r} is no model, and reads no prompt")
        folder = checkpoint(model)
        noted, now = self._manifest["decides"]["models"][seat], hashes(model)
        if changed := [key for key in noted if key != "identity" and noted[key] != now.get(key)]:
            raise RunError(
                f"the {' and '.join(changed)} of {model.checkpoint!r} are not those that the run "
                f"used, so the prompt of seat {seat!r} is not to be had for certain"
            )
        kit = Kit.read(model, folder)
        runs = self._folder.path.resolve().parents[str(config["name"]).count("/") + 1]
        return Placed(kit.dialect(kit.profile(runs)), placement), kit.tokenizer
