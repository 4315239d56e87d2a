"""The base of everything that a YAML file may configure."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen value whose fields are its settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[frozenset[str]] = frozenset()
    """What every writer's endpoint must be able to do, such as `logprobs` (policies)."""
