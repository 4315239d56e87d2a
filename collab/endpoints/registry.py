"""From a dialect's name to the dialect."""

from __future__ import annotations

from collections.abc import Mapping

from collab.endpoints.chat import ChatDialect
from collab.endpoints.dialects import Dialect, Frame, IdsDialect, TextDialect
from collab.endpoints.native import LlamaCompletion, OllamaGenerate, SglangGenerate
from collab.endpoints.profile import Profile
from collab.endpoints.request_format import Completions, RequestFormat
from collab.endpoints.tokens import Tokenizer
from collab.endpoints.vendors import (
    ContinueAfterOpening,
    ContinueFinal,
    DeepSeekPrefix,
    MistralPrefix,
    NoPrefix,
    Partial,
    ReasoningField,
)
from collab.errors import ConfigError

CHATS: Mapping[str, type[ChatDialect]] = {
    each.name: each
    for each in (
        ContinueFinal,
        ContinueAfterOpening,
        ReasoningField,
        DeepSeekPrefix,
        MistralPrefix,
        Partial,
        NoPrefix,
    )
}
IDS: Mapping[str, type[RequestFormat]] = {
    "ids": Completions,
    "sglang": SglangGenerate,
    "llamacpp": LlamaCompletion,
}
TEXT: Mapping[str, type[RequestFormat]] = {"text": Completions, "ollama": OllamaGenerate}


def choose(
    profile: Profile,
    frame: Frame | None,
    tokenizer: Tokenizer | None,
    think_open: str,
    think_close: str,
) -> Dialect:
    """Make the dialect that a profile names.

    Raises:
        ConfigError: It lays out the prompt itself, and the template or the tokenizer is missing.
    """
    name = profile.dialect
    if name in CHATS:
        return CHATS[name](
            frame,
            think_open,
            think_close,
            continues=profile.can_write_thinking,
            thought_in=profile.thought_in,
            echoes=profile.echoes,
        )
    if frame is None or (tokenizer is None and name in IDS):
        raise ConfigError(
            f"dialect {name!r} needs the model's tokenizer and chat template; set the model's "
            "checkpoint to a folder or Hugging Face id that has them, or set dialect to one of "
            f"{', '.join(CHATS)}"
        )
    if name in IDS and tokenizer is not None:
        return IdsDialect(frame, tokenizer, IDS[name](), name)
    return TextDialect(frame, TEXT[name](), name)
