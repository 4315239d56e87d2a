"""What a model is told: the turns around a question's text."""

from __future__ import annotations

from pydantic import field_validator

from collab.core.settings import Settings
from collab.core.trajectory import Message


class PromptFormat(Settings):
    """A user turn around the question, and a system turn if asked for."""

    user: str | None = None
    """The user turn; `{question}` stands for the question's text. None: what the set says."""
    system: str | None = None
    """The system turn; None: what the set says, mostly none."""

    @field_validator("user")
    @classmethod
    def _asks(cls, user: str | None) -> str | None:
        if user is not None and "{question}" not in user:
            raise ValueError(f"user turn {user!r} lacks '{{question}}'")
        return user

    def over(self, own: PromptFormat) -> PromptFormat:
        """Return what a run says, and where it says nothing, what the question set does."""
        return PromptFormat(
            user=own.user if self.user is None else self.user,
            system=own.system if self.system is None else self.system,
        )

    def messages(self, text: str) -> tuple[Message, ...]:
        """Return the conversation that asks a question."""
        user = Message("user", (self.user or "{question}").replace("{question}", text))
        return (user,) if self.system is None else (Message("system", self.system), user)
