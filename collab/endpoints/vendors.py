"""How each server wants a begun turn: one small class a convention.

The class attributes say what is documented; `collab doctor` tries what is so at an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from collab.core.sampling import OpenTurn
from collab.core.trajectory import Json
from collab.endpoints.chat import ChatDialect, behind
from collab.endpoints.profile import Field
from collab.endpoints.request_format import Body


class ContinueFinal(ChatDialect):
    """vLLM: the template writes the last message and is cut where its content ends.

    The content holds the open tag itself. A template that puts an empty block in front of it, or
    trims it, is found out by what the server reads.
    """

    name = "chat_cfm"
    flags: ClassVar[Mapping[str, Json]] = {
        "continue_final_message": True,
        "add_generation_prompt": False,
    }

    def begun(self, turn: OpenTurn) -> Body:
        """Write the whole block into the content."""
        return {"content": self.think_open + self._behind(turn)}

    def renders(self, turn: OpenTurn) -> str:
        """Return what was sent: the template writes a content as it stands."""
        return self._behind(turn)

    def _behind(self, turn: OpenTurn) -> str:
        return turn.thought if turn.said is None else turn.thought + turn.close + turn.said


class ContinueAfterOpening(ChatDialect):
    """SGLang: the content is put behind the generation prompt, which may open the block itself."""

    name = "chat_cfm_after_gen"
    flags: ClassVar[Mapping[str, Json]] = {"continue_final_message": True}
    always: ClassVar[Mapping[str, Json]] = {"separate_reasoning": False, "no_stop_trim": True}

    def begun(self, turn: OpenTurn) -> Body | None:
        """Write what stands behind the generation prompt."""
        opened = self.frame is None or self.frame.opens(turn.messages)
        content = ("" if opened else self.think_open) + self.renders(turn)
        return {"content": content} if content else None

    def renders(self, turn: OpenTurn) -> str:
        """Return what was sent, whichever side opens the block."""
        return turn.thought if turn.said is None else turn.thought + turn.close + turn.said


class ReasoningField(ChatDialect):
    """llama.cpp and newer servers: the thought stands in a field of its own.

    A content says that the thinking is over, so an answer begins with a blank line.
    """

    name = "reasoning_field"
    thought_in: Field = "reasoning"
    echoes = True

    def begun(self, turn: OpenTurn) -> Body | None:
        """Put the thought into its field, and the answer into the content."""
        if not turn.thought and not turn.said:
            return None
        content = "" if turn.said is None else behind(turn.said)
        return {"content": content, "reasoning_content": turn.thought}


class DeepSeekPrefix(ReasoningField):
    """DeepSeek's beta API: as the reasoning field, with a flag on the message."""

    name = "deepseek_prefix"
    open_fields = False
    echoes = False

    def begun(self, turn: OpenTurn) -> Body | None:
        """Mark the message as a prefix."""
        begun = super().begun(turn)
        return None if begun is None else {**begun, "prefix": True}


class MistralPrefix(ChatDialect):
    """Mistral: a prefix of the answer is documented; one of the thinking only if probes pass."""

    name = "mistral_prefix"
    open_fields = False
    continues = False
    thought_in: Field = "reasoning"

    def begun(self, turn: OpenTurn) -> Body | None:
        """Write the thinking as a part of the content, and the answer behind it."""
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

    def begun(self, turn: OpenTurn) -> Body | None:
        """Mark the message as partial."""
        if not turn.thought:
            return {"content": turn.said, "partial": True} if turn.said else None
        content = "" if turn.said is None else behind(turn.said)
        return {"content": content, "reasoning_content": turn.thought, "partial": True}


class NoPrefix(ChatDialect):
    """OpenAI, Anthropic and the like: a turn is never continued; advice and answers only."""

    name = "none"
    open_fields = False
    continues = False
    limit = "max_completion_tokens"
    thought_in: Field = "reasoning"

    def begun(self, turn: OpenTurn) -> None:
        """Begin nothing."""
        return
