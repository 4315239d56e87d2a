"""The message of a chat reply: its answer, its thinking, and a refusal by the API.

Servers return the thinking in a field of its own, under many names and as text, an object or a list
of parts, or as parts of the content.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

THINKING = (
    *("reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content"),
    *("thinking_blocks", "reasoning_details", "thoughts", "thought_content"),
)
"""Fields of a message that may hold the thinking; the first with a text counts."""
TEXTS = ("text", "thinking", "content", "reasoning", "summary", "reasoning_content", "thought")
"""Fields of a part that may hold its text; likewise."""
THOUGHTS = ("thinking", "reasoning", "thought")
"""Beginnings of the types of parts that hold thinking."""
DEPTH = 6
"""Levels of parts in parts."""


class ReplyMessage(BaseModel):
    """The message of a chat reply."""

    model_config = ConfigDict(extra="allow")

    content: object = None
    refusal: object = None

    @property
    def thought(self) -> str:
        """The thinking, if it is separate from the answer."""
        fields = self.__pydantic_extra__ or {}
        named = (text_in(fields.get(name)) for name in THINKING)
        inside = "".join(text_in(part) for part in self._parts if _is_thought(part))
        return next(filter(None, named), inside)

    @property
    def answer(self) -> str:
        """The content, without the parts that are thinking or a refusal."""
        if not isinstance(self.content, list | dict):
            return self.content if isinstance(self.content, str) else ""
        return "".join(text_in(part) for part in self._parts if _is_answer(part))

    @property
    def refused(self) -> str:
        """The API's refusal to answer."""
        parts = (part.get("refusal") for part in self._parts if isinstance(part, dict))
        return text_in(self.refusal) or "".join(map(text_in, parts))

    @property
    def is_empty(self) -> bool:
        """Whether there is no text at all: neither an answer, a thought, a refusal nor a call."""
        fields = self.__pydantic_extra__ or {}
        calls = fields.get("tool_calls") or fields.get("function_call")
        whole = isinstance(self.content, str) or self.answer or self.thought or self.refused
        return not (whole or calls)

    @property
    def _parts(self) -> list[object]:
        if isinstance(self.content, list):
            return self.content
        return [self.content] if isinstance(self.content, dict) else []


def text_in(value: object, depth: int = 0) -> str:
    """Return the text of a field: a string, a part with a text, or a list of them."""
    if isinstance(value, str):
        return value
    if depth == DEPTH:
        return ""
    if isinstance(value, list):
        return "".join(text_in(one, depth + 1) for one in value)
    if isinstance(value, dict):
        texts = (text_in(value.get(name), depth + 1) for name in TEXTS)
        return next(filter(None, texts), "")
    return ""


def _is_thought(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    kind = part.get("type")
    if isinstance(kind, str):
        return kind.startswith(THOUGHTS)
    return "text" not in part and any(name in part for name in THOUGHTS)


def _is_answer(part: object) -> bool:
    if isinstance(part, str):
        return True
    known = isinstance(part, dict) and part.get("type") not in ("refusal", "tool_use", "tool_call")
    return known and not _is_thought(part)
