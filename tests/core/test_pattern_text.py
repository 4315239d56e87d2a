"""Settings that hold regular expressions: every one of them refuses other texts by name."""

import pytest
from pydantic import ValidationError

from collab import PatternText, Regex, Says, Settings
from collab.policies.tool import UseTool
from collab.questions.jsonl import Jsonl


class Watch(Settings):
    for_: PatternText


@pytest.mark.parametrize(
    ("kind", "field", "more"),
    [
        (Watch, "for_", {}),
        (Regex, "pattern", {}),
        (Says, "pattern", {}),
        (UseTool, "asks", {}),
        (Jsonl, "answer_pattern", {"path": "q.jsonl"}),
    ],
)
def test_a_setting_that_is_no_regular_expression_is_refused(
    kind: type[Settings], field: str, more: dict[str, str]
) -> None:
    with pytest.raises(
        ValidationError, match=r"'\(' is not a regular expression: missing \)"
    ) as no:
        kind.model_validate({field: "(", **more})
    assert no.value.errors()[0]["loc"] == (field,)


def test_a_pattern_is_kept_as_it_was_written() -> None:
    assert Watch(for_=r"\bwait\b").for_ == r"\bwait\b"
