"""A scenario of one's own: any policy on any questions, short and long ones apart."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar

from collab import Case, Policy
from collab.scenarios.base import Bank, Note
from collab.scenarios.collaboration import Collaboration


class ByLength(Collaboration):
    """Play as `collaboration` does; its table has a row for short and one for long questions."""

    by: ClassVar[str] = "length"

    words: int = 20
    """A question with more words is a long one."""

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        async for made in super().cases(bank, policy):
            yield made if isinstance(made, Note) else self._labelled(made)

    def _labelled(self, case: Case) -> Case:
        words = sum(len(message.content.split()) for message in case.question.messages)
        length = "long" if words > self.words else "short"
        return replace(case, labels={**case.labels, "length": length})
