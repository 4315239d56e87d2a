"""Sample the draws of a request that the store does not have.

This is the step from the store to an endpoint: the store calls a draw source with each range of
draws that it lacks, and the source asks the endpoint for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from collab.core.cost import Account
from collab.core.sampling import Generation, OnCut, OnText, Request
from collab.store.draw_keys import seed_of

if TYPE_CHECKING:
    from collab.endpoints.profile import Profile
    from collab.store.store import Store


class CompletionEndpoint(Protocol):
    """The parts of an endpoint that a model needs."""

    @property
    def profile(self) -> Profile:
        """The known abilities and limits of the endpoint."""
        ...

    @property
    def oddities(self) -> Mapping[str, int]:
        """The odd fields and values of replies that were used all the same, by name."""
        ...

    async def complete(
        self,
        request: Request,
        draws: range,
        *,
        seed: int,
        on_text: OnText | None = None,
        on_cut: OnCut | None = None,
    ) -> list[Generation]:
        """Sample the first draws of a range, at least one; the i-th has the seed `seed + i`.

        `on_cut` receives the partial generation of a streamed draw that was stopped.
        """
        ...

    async def ends(self, text: str) -> tuple[int, ...] | None:
        """Return the ends of the server's tokens in a text (characters); None if unknown."""
        ...


@dataclass(frozen=True, slots=True)
class DrawSource:
    """Samples draws of one request, and charges them to an account.

    The partial generation of a stopped draw is stored too: it was paid for, but it is no sample.
    """

    request: Request
    endpoint: CompletionEndpoint
    store: Store
    account: Account
    on_text: OnText | None = None

    async def __call__(self, missing: range) -> list[Generation]:
        """Sample the first draws of a range, at least one.

        Raises:
            CapReached: A cap of the run is reached.
        """

        def keep(partial: Generation) -> None:
            self.store.keep_partial(self.request, missing.start, partial, self.account)

        async with self.account.request():
            return await self.endpoint.complete(
                self.request,
                missing,
                seed=seed_of(self.request, missing.start),
                on_text=self.on_text,
                on_cut=keep,
            )
