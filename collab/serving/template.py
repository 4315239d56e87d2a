"""Chat templates as the wire speaks of them: opening a turn, or going on with the last one."""

from __future__ import annotations

from collab.errors import ConfigError
from collab.serving.backend import ChatTurns, WireError
from collab.templates.template import Template


class ChatTemplate:
    """A Hugging Face chat template."""

    def __init__(self, source: str) -> None:
        self._template = Template(source)

    def render(self, chat: ChatTurns, *, generate: bool, go_on: bool) -> str:
        """Turn a chat into the text of a prompt.

        `generate` opens a new turn of the assistant. `go_on` cuts the text at the end of the last
        message's content instead, so that the model continues it.

        Raises:
            WireError: The template refuses the chat, or the last message does not appear in it.
        """
        try:
            text = self._template.write(chat, generate)
        except ConfigError as error:
            raise WireError(f"the chat template failed: {error}", param="messages") from error
        return _cut(text, str(chat[-1].get("content") or "")) if go_on else text


def _cut(text: str, content: str) -> str:
    """End the text where its last message's content ends, with what the template left of it."""
    start = text.rfind(content.strip())
    if start < 0:
        raise WireError(
            "continue_final_message is set but the final message does not appear in the chat "
            "after applying the chat template",
            param="messages",
        )
    whole = content.lstrip()
    kept = whole if text.startswith(whole, start) else content.strip()
    return text[: start + len(kept)]
