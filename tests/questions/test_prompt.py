import pytest
from pydantic import ValidationError

from collab.core.trajectory import Message
from collab.questions import PromptFormat


def test_the_user_turn_stands_around_the_question() -> None:
    prompt = PromptFormat(user="{question}\nThink {hard}.", system="Be brief.")
    assert prompt.messages("1 + {question}?") == (
        Message("system", "Be brief."),
        Message("user", "1 + {question}?\nThink {hard}."),
    )
    assert PromptFormat().messages("1?") == (Message("user", "1?"),)


def test_a_user_turn_without_the_question_is_refused() -> None:
    with pytest.raises(ValidationError, match="lacks"):
        PromptFormat(user="Think.")


def test_what_a_run_says_goes_before_what_the_set_says() -> None:
    own = PromptFormat(user="Set: {question}", system="Set.")
    assert PromptFormat(user="Run: {question}").over(own) == PromptFormat(
        user="Run: {question}", system="Set."
    )
    assert PromptFormat(system="Run.").over(own) == PromptFormat(
        user="Set: {question}", system="Run."
    )
    assert PromptFormat().over(own) == own
