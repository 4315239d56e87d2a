"""Apply a chat template as the API asks for it: open a new turn, or continue the last one."""

from __future__ import annotations

from collab.errors import ConfigError
from collab.serving.backend import ChatTurns, WireError
from collab.templates.template import Template


class ChatTemplate:
    """A chat template in Hugging Face's format."""

    def __init__(self, source: str) -> None:
        self._template = Template(source)

    def render(self, chat: ChatTurns, *, generate: bool, continue_final: bool) -> str:
        """Render a chat as the text of a prompt.

        `generate` opens a new turn of the assistant. `continue_final` cuts the text at the end of
        the last message's content instead, so that the model continues it.

        Raises:
            WireError: The template refuses the chat, or the last message does not appear in it.
        """
        try:
            text = self._template.render_turns(chat, generate)
        except ConfigError as error:
            raise WireError(f"the chat template failed: {error}", param="messages") from error
        return _cut(text, str(chat[-1].get("content") or "")) if continue_final else text


def _cut(text: str, content: str) -> str:
    """Cut the text at the end of the last message's content, which a template may trim."""
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
