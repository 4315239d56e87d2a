"""Chat templates, run in Jinja's sandbox: they may come from anywhere."""

from __future__ import annotations

from typing import NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from collab.wire.backend import Chat, WireError


class ChatTemplate:
    """A Hugging Face chat template."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.globals["raise_exception"] = _refuse
        self._render = environment.from_string(source).render
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def render(self, chat: Chat, *, generate: bool, go_on: bool) -> str:
        """Turn a chat into the text of a prompt.

        `generate` opens a new turn of the assistant. `go_on` cuts the text at the end of the last
        message's content instead, so that the model continues it.

        Raises:
            WireError: The template refuses the chat, or the last message does not appear in it.
        """
        try:
            text = self._render(messages=chat, add_generation_prompt=generate, **self._tokens)
        except jinja2.TemplateError as error:
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


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
