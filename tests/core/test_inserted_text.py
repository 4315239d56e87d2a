import pytest
from pydantic import TypeAdapter, ValidationError

from collab.core.inserted_text import InsertedText

CHECKED: TypeAdapter[str] = TypeAdapter(InsertedText)


@pytest.mark.parametrize("text", ["Wait. ", "Wait.\t", " "])
def test_a_text_that_splits_the_next_word_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="ends in a space"):
        CHECKED.validate_python(text)


@pytest.mark.parametrize("text", ["", "Wait", " Wait.\n"])
def test_a_text_that_ends_whole_stays_as_it_is(text: str) -> None:
    assert CHECKED.validate_python(text) == text
