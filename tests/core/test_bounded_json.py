import math

import pytest

from collab.core.bounded_json import DEEPEST, LARGEST, parse_json


def nested(levels: int) -> bytes:
    return b"[" * levels + b"1" + b"]" * levels


@pytest.mark.parametrize("strict", [True, False])
def test_json_is_parsed_to_the_last_level_and_refused_one_below(strict: bool) -> None:
    assert parse_json(nested(DEEPEST), strict=strict)
    with pytest.raises(ValueError, match="nested more than 200 levels deep"):
        parse_json(nested(DEEPEST + 1), strict=strict)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("text", [b"", b"{", b'{"a": 1,}', b"\xff"])
def test_what_is_not_json_is_refused(text: bytes, strict: bool) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own words
        parse_json(text, strict=strict)


def test_half_a_surrogate_pair_and_nan_are_parsed_unless_strict() -> None:
    assert parse_json(b'["\\ud83d", NaN]')[0] == "\ud83d"
    assert math.isnan(parse_json(b"[NaN]")[0])
    for text in (b'"\\ud83d"', b"[NaN]", b"[Infinity]"):
        with pytest.raises(ValueError):  # noqa: PT011 - the parser's own words
            parse_json(text, strict=True)


def test_a_text_with_half_a_surrogate_pair_may_be_nested_no_deeper() -> None:
    with pytest.raises(ValueError, match="nested more than 200 levels deep"):
        parse_json(b'["\\ud83d", ' + nested(DEEPEST) + b"]")


def test_an_integer_of_more_than_63_bits_is_refused() -> None:
    assert parse_json(b"[%d]" % (LARGEST - 1)) == [LARGEST - 1]
    for number in (LARGEST, -LARGEST):
        with pytest.raises(ValueError, match="needs more than 63 bits"):
            parse_json(b"[%d]" % number)
