"""Rebuild the exact prompts of a finished run from its files; nothing is sent.

A rebuilt prompt equals the one that was sent, or an error says why that is not certain: tokenizer,
template and number of tokens must be those in the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from pydantic import TypeAdapter, ValidationError

from collab.app.connect import ModelKit
from collab.app.mark import why_foreign
from collab.app.model_identity import checkpoint
from collab.app.rebuild_config import runs_of
from collab.app.wants import is_shipped
from collab.config.config import ModelConfig, SeatConfig
from collab.core.trajectory import Question, Trajectory, Unit
from collab.endpoints.dialects import Dialect
from collab.endpoints.placement import PlacedDialect, Placement
from collab.endpoints.tokens import Tokenizer
from collab.errors import CollabError, RunError
from collab.reasoners.stored_model import prompt_text
from collab.runs.jsonl import Plain
from collab.runs.run_folder import RunFolder

_TEAM: TypeAdapter[dict[str, SeatConfig]] = TypeAdapter(dict[str, SeatConfig])
_PLACEMENT: TypeAdapter[Placement] = TypeAdapter(Placement)


PromptReader = tuple[Dialect, Tokenizer | None]


class Prompts:
    """Rebuilds the prompts of a run.

    Args:
        folder: The run.
        trust: Read tokenizers and templates from any path in the manifest. Otherwise, for a run
            from elsewhere, only those that ship with collab are read.
    """

    def __init__(self, folder: RunFolder, *, trust: bool = False) -> None:
        self._folder, self._trust = folder, trust
        self._readers: dict[str, PromptReader | CollabError] = {}

    def __call__(self, question: str, unit: Unit, before: Trajectory) -> str:
        """Return the prompt that a unit's author was sent, as text.

        Args:
            question: The id of the question.
            unit: The unit.
            before: The trajectory that the unit continues.

        Raises:
            CollabError: The prompt cannot be rebuilt with certainty.
        """
        seat = unit.author
        reader = self._reader(seat)
        if isinstance(reader, CollabError):
            raise reader
        dialect, tokenizer = reader
        messages = self._questions[question].messages
        laid = dialect.prompt(messages, before, unit.phase, seat)
        if laid.seams != unit.seams:
            sent = unit.seams.tokens if unit.seams else 0
            raise RunError(
                f"the prompt of seat {seat!r} cannot be rebuilt with certainty: {sent} tokens "
                f"were sent, and the rebuilt prompt has {laid.seams.tokens}"
            )
        return prompt_text(laid.prompt, tokenizer)

    @cached_property
    def _questions(self) -> Mapping[str, Question]:
        return self._folder.questions()

    @cached_property
    def _manifest(self) -> Plain:
        return self._folder.manifest

    @cached_property
    def _why_foreign(self) -> str:
        return why_foreign(self._folder)

    def _reader(self, seat: str) -> PromptReader | CollabError:
        """Return the dialect and tokenizer of a seat, or the error of the first attempt."""
        if seat not in self._readers:
            try:
                self._readers[seat] = self._load_reader(seat)
            except CollabError as error:
                self._readers[seat] = error
        return self._readers[seat]

    def _load_reader(self, seat: str) -> PromptReader:
        try:
            config = self._manifest["config"]
            model = _TEAM.validate_python(config["team"])[seat]
            placement = _PLACEMENT.validate_python(config["placement"])
            noted = self._manifest["decides"]["models"][seat]
        except (KeyError, TypeError, ValidationError) as error:
            why = f"the manifest does not say how seat {seat!r} was asked: {error}"
            raise RunError(why) from None
        if not isinstance(model, ModelConfig):
            raise RunError(f"seat {seat!r} has no model, so it has no prompt")
        own = self._trust or not self._why_foreign
        if not own and model.checkpoint is not None and not is_shipped(model.checkpoint):
            raise RunError(
                f"this run is not one of yours ({self._why_foreign}) and wants to read "
                f"{model.checkpoint!r} to rebuild the prompt of seat {seat!r}; add --trust if it "
                "may"
            )
        kit = ModelKit.load(model, checkpoint(model))
        now = {
            "tokenizer": kit.tokenizer and kit.tokenizer.fingerprint,
            "template": kit.frame and kit.frame.template.hash,
        }
        if changed := [key for key, found in now.items() if found != noted.get(key)]:
            raise RunError(
                f"the {' and '.join(changed)} of {model.checkpoint!r} are not those that the run "
                f"used, so the prompt of seat {seat!r} cannot be rebuilt with certainty"
            )
        runs = runs_of(self._folder, str(config["name"]))
        profile = kit.profile(runs) if own else kit.documented
        return PlacedDialect(kit.dialect(profile), placement), kit.tokenizer
