"""The base class of everything that a YAML file may configure."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen value whose fields are its settings; unknown keys are refused.

    Examples:
        >>> from collab import Settings
        >>> class Patience(Settings):
        ...     units: int = 3
        >>> Patience(units=5)
        Patience(units=5)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[frozenset[str]] = frozenset()
    """Abilities that a policy needs of every writer's endpoint, such as `logprobs` or `score`."""
