"""The exact prompts of a run that was played, laid out again from its files; nothing is sent.

They are those that were sent, or an error says why nobody can be certain: tokenizer, template and
the number of tokens must be what the run noted of them.
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
    """Lays out what the writers of a run read.

    Args:
        folder: The run.
        trust: Whether tokenizers and templates are read from wherever the manifest says; else, of
            a run from elsewhere, those alone that come with collab.
    """

    def __init__(self, folder: RunFolder, *, trust: bool = False) -> None:
        self._folder, self._trust = folder, trust
        self._readers: dict[str, PromptReader | CollabError] = {}

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
        reader = self._known(seat)
        if isinstance(reader, CollabError):
            raise reader
        dialect, tokenizer = reader
        messages = self._questions[question].messages
        laid = dialect.prompt(messages, before, unit.phase, seat)
        if laid.seams != unit.seams:
            sent = unit.seams.tokens if unit.seams else 0
            raise RunError(
                f"the prompt of seat {seat!r} is not to be had for certain: {sent} tokens were "
                f"sent, and laid out again it has {laid.seams.tokens}"
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

    def _known(self, seat: str) -> PromptReader | CollabError:
        """Return how a seat's model is spoken to, or why that is not known; found out once."""
        if seat not in self._readers:
            try:
                self._readers[seat] = self._reader(seat)
            except CollabError as error:
                self._readers[seat] = error
        return self._readers[seat]

    def _reader(self, seat: str) -> PromptReader:
        try:
            config = self._manifest["config"]
            model = _TEAM.validate_python(config["team"])[seat]
            placement = _PLACEMENT.validate_python(config["placement"])
            noted = self._manifest["decides"]["models"][seat]
        except (KeyError, TypeError, ValidationError) as error:
            said = f"the manifest does not say how seat {seat!r} was asked: {error}"
            raise RunError(said) from None
        if not isinstance(model, ModelConfig):
            raise RunError(f"seat {seat!r} is no model, and reads no prompt")
        own = self._trust or not self._why_foreign
        if not own and model.checkpoint is not None and not is_shipped(model.checkpoint):
            raise RunError(
                f"this run is not one of yours ({self._why_foreign}) and wants to read "
                f"{model.checkpoint!r} to lay out the prompt of seat {seat!r}; add --trust if it "
                "may"
            )
        kit = ModelKit.read(model, checkpoint(model))
        now = {
            "tokenizer": kit.tokenizer and kit.tokenizer.fingerprint,
            "template": kit.frame and kit.frame.template.hash,
        }
        if changed := [key for key, found in now.items() if found != noted.get(key)]:
            raise RunError(
                f"the {' and '.join(changed)} of {model.checkpoint!r} are not those that the run "
                f"used, so the prompt of seat {seat!r} is not to be had for certain"
            )
        runs = runs_of(self._folder, str(config["name"]))
        profile = kit.profile(runs) if own else kit.documented
        return PlacedDialect(kit.dialect(profile), placement), kit.tokenizer
