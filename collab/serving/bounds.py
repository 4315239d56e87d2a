"""Limits of one request: the text that it sends, and the choices and log-probabilities it gets."""

from __future__ import annotations

from collections.abc import Sequence

from collab.serving.backend import Card, Job, WireError

CHOICES = 4096
"""The largest number of choices in one request, over all its prompts."""
REPORTED = 2**23
"""The largest number of log-probabilities in one answer."""
TOKEN = 64
"""A text longer than this many characters per token of the context is not tokenized."""
MESSAGES = 10_000
"""The largest number of messages in a chat."""
CHARACTERS = 1_000_000
"""The longest chat (characters), if the context is not shorter."""
STOPS = 256
"""The largest number of stop strings, and of stop ids."""
STOP = 4096
"""The longest stop string (characters)."""


def check_text(text: str, card: Card, param: str) -> None:
    """Check, before tokenizing a text, that it is not far too long for the context.

    Raises:
        WireError: The text is longer than `TOKEN` characters per token of the context.
    """
    if len(text) > TOKEN * card.context:
        raise WireError(
            f"This model's maximum context length is {card.context} tokens; a text of "
            f"{len(text):,} characters is too long for it.",
            param=param,
        )


def check_answer(jobs: Sequence[Job]) -> None:
    """Check that the answer to jobs would not be too large.

    Raises:
        WireError: The jobs ask for too many choices or log-probabilities.
    """
    choices = sum(job.n for job in jobs)
    if choices > CHOICES:
        raise WireError(
            f"the request asks for {choices:,} choices; at most {CHOICES:,} are allowed", param="n"
        )
    reported = sum(map(_reported, jobs))
    if reported > REPORTED:
        raise WireError(
            f"the request asks for up to {reported:,} log-probabilities; at most {REPORTED:,} are "
            "allowed: lower n, max_tokens or logprobs",
            param="logprobs",
        )


def _reported(job: Job) -> int:
    """Count the log-probabilities that a job may report."""
    drawn = job.max_tokens * (1 + job.logprobs) if job.logprobs is not None else 0
    prompt = len(job.prompt) * (1 + job.prompt_logprobs) if job.prompt_logprobs is not None else 0
    return job.n * (drawn + prompt)
