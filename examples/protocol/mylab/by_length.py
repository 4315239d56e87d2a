"""A scenario that reports short and long questions separately, for any policy."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar

from collab import Case, Policy
from collab.scenarios.base import Bank, Note
from collab.scenarios.collaboration import Collaboration


class ByLength(Collaboration):
    """Like `collaboration`, with one table row for short and one for long questions."""

    by: ClassVar[str] = "length"

    words: int = 20
    """A question with more words is a long one."""

    async def cases(self, bank: Bank, policy: Policy) -> AsyncIterator[Case | Note]:
        async for case in super().cases(bank, policy):
            yield case if isinstance(case, Note) else self._labelled(case)

    def _labelled(self, case: Case) -> Case:
        words = sum(len(message.content.split()) for message in case.question.messages)
        length = "long" if words > self.words else "short"
        return replace(case, labels={**case.labels, "length": length})
