"""How much one request may ask for: text in, choices and log-probabilities out."""

from __future__ import annotations

from collections.abc import Sequence

from collab.serving.backend import Card, Job, WireError

CHOICES = 4096
"""The most choices of one request, those of all its prompts together."""
REPORTED = 2**23
"""The most tokens that one answer reports, with the likeliest ones beside each."""
TOKEN = 64
"""A text of more characters than so many for each token of the context is not tokenized."""
MESSAGES = 10_000
"""The most messages of a chat."""
CHARACTERS = 1_000_000
"""The longest chat (characters), where no context says less."""
STOPS = 256
"""The most stop strings, and the most stop ids."""
STOP = 4096
"""The longest stop string (characters)."""


def check_text(text: str, card: Card, param: str) -> None:
    """Refuse a text that is far too long for the context before it is tokenized.

    Raises:
        WireError: It is.
    """
    if len(text) > TOKEN * card.context:
        raise WireError(
            f"This model's maximum context length is {card.context} tokens; a text of "
            f"{len(text):,} characters is not read.",
            param=param,
        )


def check_answer(jobs: Sequence[Job]) -> None:
    """Refuse jobs whose answer would be too large.

    Raises:
        WireError: They ask for too many choices, or report too much of them.
    """
    choices = sum(job.n for job in jobs)
    if choices > CHOICES:
        raise WireError(f"{choices:,} choices are asked for; at most {CHOICES:,} are", param="n")
    reported = sum(map(_reported, jobs))
    if reported > REPORTED:
        raise WireError(
            f"up to {reported:,} log-probabilities are asked for, of at most {REPORTED:,}: ask for "
            "fewer of n, max_tokens and logprobs at once",
            param="logprobs",
        )


def _reported(job: Job) -> int:
    drawn = job.max_tokens * (1 + job.logprobs) if job.logprobs is not None else 0
    read = len(job.prompt) * (1 + job.prompt_logprobs) if job.prompt_logprobs is not None else 0
    return job.n * (drawn + read)
