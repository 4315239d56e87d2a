import pytest
from pydantic import ValidationError

from collab.core.trajectory import Message
from collab.questions import Prompt


def test_the_user_turn_stands_around_the_question() -> None:
    prompt = Prompt(user="{question}\nThink {hard}.", system="Be brief.")
    assert prompt.messages("1 + {question}?") == (
        Message("system", "Be brief."),
        Message("user", "1 + {question}?\nThink {hard}."),
    )
    assert Prompt().messages("1?") == (Message("user", "1?"),)


def test_a_user_turn_without_the_question_is_refused() -> None:
    with pytest.raises(ValidationError, match="lacks"):
        Prompt(user="Think.")


def test_what_a_run_says_goes_before_what_the_set_says() -> None:
    own = Prompt(user="Set: {question}", system="Set.")
    assert Prompt(user="Run: {question}").over(own) == Prompt(user="Run: {question}", system="Set.")
    assert Prompt(system="Run.").over(own) == Prompt(user="Set: {question}", system="Run.")
    assert Prompt().over(own) == own
