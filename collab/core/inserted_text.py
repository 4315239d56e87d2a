"""Text that no model wrote: what may go on a trajectory between units that models write.

In the vocabularies of today's models a space belongs to the word that follows it. A text that ends
in a space therefore splits the next word's token, and the model continues from a prompt that it
never saw in training.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def splits_next_word(text: str) -> bool:
    """Check whether a text ends in a space or a tab, which belongs to the next word's token."""
    return text.endswith((" ", "\t"))


def _ends_whole(text: str) -> str:
    if splits_next_word(text):
        raise ValueError(
            f"{text!r} ends in a space, which splits the next word's token; end it before the "
            "space, or in a newline"
        )
    return text


InsertedText = Annotated[str, AfterValidator(_ends_whole)]
"""A setting that holds text for the trajectory; one that ends in a space is refused."""
