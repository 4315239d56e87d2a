"""The messages around a question's text."""

from __future__ import annotations

from pydantic import field_validator

from collab.core.settings import Settings
from collab.core.trajectory import Message


class PromptFormat(Settings):
    """A user turn around the question, and optionally a system turn."""

    user: str | None = None
    """The user turn; `{question}` is replaced by the question's text. None: the set's default."""
    system: str | None = None
    """The system turn; None: the set's default, usually none."""

    @field_validator("user")
    @classmethod
    def _asks(cls, user: str | None) -> str | None:
        if user is not None and "{question}" not in user:
            raise ValueError(
                f"user turn {user!r} lacks '{{question}}'; add it where the text belongs"
            )
        return user

    def over(self, own: PromptFormat) -> PromptFormat:
        """Return the run's prompt, completed by the defaults of the question set."""
        return PromptFormat(
            user=own.user if self.user is None else self.user,
            system=own.system if self.system is None else self.system,
        )

    def messages(self, text: str) -> tuple[Message, ...]:
        """Return the messages that ask a question."""
        user = Message("user", (self.user or "{question}").replace("{question}", text))
        return (user,) if self.system is None else (Message("system", self.system), user)
