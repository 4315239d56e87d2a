"""The conventions of servers for an open turn, one small class each.

The class attributes are as documented; `collab doctor` tests them at an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from collab.core.sampling import OpenTurn
from collab.core.trajectory import Json
from collab.endpoints.chat import ChatDialect, after_gap
from collab.endpoints.profile import Field
from collab.endpoints.request_format import Body, EndpointRequest


class ContinueFinal(ChatDialect):
    """vLLM: the template renders the last message and is cut after its content.

    The content includes the open tag. The prompt that the server reports shows whether a template
    adds an empty block before it, or trims it.
    """

    name = "chat_cfm"
    flags: ClassVar[Mapping[str, Json]] = {
        "continue_final_message": True,
        "add_generation_prompt": False,
    }

    def open_turn(self, turn: OpenTurn) -> Body:
        """Write the whole block into the content."""
        return {"content": self.think_open + self._behind(turn)}

    def renders(self, turn: OpenTurn) -> str:
        """Return the content that was sent, which the template renders unchanged."""
        return self._behind(turn)

    def _behind(self, turn: OpenTurn) -> str:
        return turn.thought if turn.said is None else turn.thought + turn.close + turn.said


class ContinueAfterOpening(ChatDialect):
    """SGLang: the content follows the generation prompt, which may open the block itself."""

    name = "chat_cfm_after_gen"
    flags: ClassVar[Mapping[str, Json]] = {"continue_final_message": True}
    always: ClassVar[Mapping[str, Json]] = {"separate_reasoning": False, "no_stop_trim": True}

    def open_turn(self, turn: OpenTurn) -> Body | None:
        """Return the text after the generation prompt."""
        opened = self.frame is None or self.frame.opens(turn.messages)
        content = ("" if opened else self.think_open) + self.renders(turn)
        return {"content": content} if content else None

    def renders(self, turn: OpenTurn) -> str:
        """Return the content that was sent, whichever side opens the block."""
        return turn.thought if turn.said is None else turn.thought + turn.close + turn.said


class ReasoningField(ChatDialect):
    """llama.cpp and newer servers: the thought has a field of its own.

    Any content ends the thinking, so an answer starts with a blank line.
    """

    name = "reasoning_field"
    thought_in: Field = "reasoning"
    echoes = True

    def open_turn(self, turn: OpenTurn) -> Body | None:
        """Put the thought into its field, and the answer into the content."""
        if not turn.thought and not turn.said:
            return None
        content = "" if turn.said is None else after_gap(turn.said)
        return {"content": content, "reasoning_content": turn.thought}

    def body(self, ask: EndpointRequest) -> Body:
        """Name the repetition penalty as llama.cpp does too, which ignores the usual name."""
        body, penalty = super().body(ask), ask.request.sampling.repetition_penalty
        return body | ({"repeat_penalty": penalty} if self.open_fields and penalty != 1 else {})


class DeepSeekPrefix(ReasoningField):
    """DeepSeek's beta API: as the reasoning field, with a flag on the message."""

    name = "deepseek_prefix"
    open_fields = False
    echoes = False

    def open_turn(self, turn: OpenTurn) -> Body | None:
        """Mark the message as a prefix."""
        opened = super().open_turn(turn)
        return None if opened is None else {**opened, "prefix": True}


class MistralPrefix(ChatDialect):
    """Mistral: a prefix of the answer is documented; one of the thinking only if probes pass."""

    name = "mistral_prefix"
    open_fields = False
    continues = False
    thought_in: Field = "reasoning"

    def open_turn(self, turn: OpenTurn) -> Body | None:
        """Put the thinking into a part of the content, and the answer after it."""
        if not turn.thought:
            return {"content": turn.said, "prefix": True} if turn.said else None
        piece = {"type": "text", "text": turn.thought}
        closed = turn.said is not None
        parts: list[Json] = [{"type": "thinking", "thinking": [piece], "closed": closed}]
        if closed:
            parts.append({"type": "text", "text": turn.said})
        return {"content": parts, "prefix": True}


class Partial(ChatDialect):
    """Kimi and DashScope: a partial answer is documented; a thought only if probes pass."""

    name = "partial"
    open_fields = False
    continues = False
    thought_in: Field = "reasoning"

    def open_turn(self, turn: OpenTurn) -> Body | None:
        """Mark the message as partial."""
        if not turn.thought:
            return {"content": turn.said, "partial": True} if turn.said else None
        content = "" if turn.said is None else after_gap(turn.said)
        return {"content": content, "reasoning_content": turn.thought, "partial": True}


class NoPrefix(ChatDialect):
    """OpenAI, Anthropic and the like: a turn is never continued; advice and answers only."""

    name = "none"
    open_fields = False
    continues = False
    limit = "max_completion_tokens"
    thought_in: Field = "reasoning"

    def open_turn(self, turn: OpenTurn) -> None:
        """Open no turn."""
        return
