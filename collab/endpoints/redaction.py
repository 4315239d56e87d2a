"""What is shown and kept of a server's words, without the key: errors and names are redacted.

A sample is not: one that holds the key is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from collab.core.sampling import Generation
from collab.endpoints.limits import NotRetryable, Retryable
from collab.endpoints.reply import Completion
from collab.endpoints.veil import SecretFinder
from collab.errors import EndpointError, KeyRepeated


class Redaction:
    """Takes the secrets that a server was sent out of what it says.

    Args:
        url: Where the server is.
        secrets: The key, and others that it was sent.
    """

    def __init__(self, url: str, secrets: Iterable[str | None]) -> None:
        self._url = url
        self.veil = SecretFinder(filter(None, secrets))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Take the key out of errors."""
        try:
            yield
        except Retryable as failure:
            error = self._hidden(failure.error)
            raise Retryable(error, failure.after, crowded=failure.crowded) from None
        except NotRetryable as failure:
            raise NotRetryable(self._hidden(failure.error)) from None
        except EndpointError as error:
            raise self._hidden(error) from None

    def names(self, completion: Completion) -> Completion:
        """Take the key out of what the server calls itself."""
        names = completion.model, completion.system_fingerprint
        hidden = tuple(name and self.veil.hide(name) for name in names)
        if hidden == names:
            return completion
        update = dict(zip(("model", "system_fingerprint"), hidden, strict=True))
        return completion.model_copy(update=update)

    def checked(self, draw: Generation) -> Generation:
        """Return a draw as it is.

        Raises:
            KeyRepeated: The key is in it.
        """
        self.refuse(draw.text)
        if isinstance(draw.stop_reason, str):
            self.refuse(draw.stop_reason)
        for top in draw.logprobs.tops if draw.logprobs else ():
            for token, _ in top:
                self.refuse(token)
        return draw

    def part(self, draw: Generation) -> Generation:
        """Return what had come of a draw, without the key or what may be its beginning."""
        text = draw.text[: len(draw.text) - self.veil.begun(draw.text)]
        shown = self.veil.hide(text)
        return draw if shown == draw.text else replace(draw, text=shown, ids=None)

    def refuse(self, text: str) -> None:
        """Refuse a text that was drawn.

        Raises:
            KeyRepeated: The key is in it.
        """
        if self.veil.holds(text):
            raise self.repeated()

    def repeated(self) -> KeyRepeated:
        """Return the error of a draw that holds the key."""
        return KeyRepeated(
            f"{self._url} wrote the key that it was sent into what it drew: the draw is not kept, "
            "for it would hold the key, and without it be no sample"
        )

    def _hidden(self, error: EndpointError) -> EndpointError:
        shown = self.veil.hide(str(error))
        return error if shown == str(error) else type(error)(shown)
