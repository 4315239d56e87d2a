"""Remove the API key from a server's errors and names.

A sample is never altered: one that contains the key is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from collab.core.sampling import Generation
from collab.endpoints.limits import Retryable
from collab.endpoints.reply import Completion
from collab.endpoints.veil import SecretFinder
from collab.errors import EndpointError, KeyRepeated


class Redaction:
    """Removes the secrets that a server was sent from its replies.

    Args:
        url: The server's address.
        secrets: The key, and other secrets that it was sent.
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
        except EndpointError as error:
            raise self._hidden(error) from None

    def names(self, completion: Completion) -> Completion:
        """Remove the key from the names in a reply."""
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
        """Return the text of a draw so far, without the key or a possible beginning of it."""
        text = draw.text[: len(draw.text) - self.veil.beginning(draw.text)]
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
            f"{self._url} repeated the API key in its output; the draw is discarded, since it "
            "cannot be stored with the key and is no sample of the model without it"
        )

    def _hidden(self, error: EndpointError) -> EndpointError:
        shown = self.veil.hide(str(error))
        return error if shown == str(error) else type(error)(shown)
