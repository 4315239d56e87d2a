"""Secrets in settings and on command lines: found by their names and by the shape of values."""

import pytest

from collab.core.secret import hide, hide_words, secrets_in

SECRET = "s3/cr%40et"


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (f"store.url=postgresql+asyncpg://u:{SECRET}@h/db", "postgresql+asyncpg://u:***@h/db"),
        (f"store.url=postgresql://u:p@{SECRET}@h/db", "postgresql://u:***@h/db"),
        (f"store.url=postgresql://h/db?user=u&password={SECRET}&a=1", "password=***&a=1"),
        (f"+team.main.extra.api_key={SECRET}", "+team.main.extra.api_key=***"),
        (f"+team.main.extra.headers.Authorization='Bearer {SECRET}'", "Authorization=***"),
        (f"+team.main.extra={{api_key: {SECRET}, a: 1}}", "extra={api_key: ***, a: 1}"),
        (f"+team.main.extra={{x-token: '{SECRET}'}}", "extra={x-token: ***}"),
        (f"team.main.base_url=http://u:{SECRET}@h/v1", "http://u:***@h/v1"),
        (f"https://u:{SECRET}@h", "https://u:***@h"),
    ],
)
def test_a_word_of_a_command_line_is_kept_without_its_secret(word: str, shown: str) -> None:
    (kept,) = hide_words([word])
    assert SECRET not in kept
    assert kept.endswith(shown)


@pytest.mark.parametrize(
    "word",
    [
        *("team.main.api_key_env=MY_KEY", "budget=100", "team.main.limits.tokens_per_minute=5"),
        *("questions.path=key.jsonl", "name=key=3", "-m", "store.url=postgresql://u@h/db"),
        "prompt.user='Solve it: {question} (basic arithmetic, key: 3)'",
    ],
)
def test_a_word_without_a_secret_stays_as_it_is(word: str) -> None:
    assert hide_words([word]) == [word] or "{" in word


def test_whatever_stands_under_the_name_of_a_secret_is_hidden() -> None:
    plain = {
        "prompt": "basic arithmetic, key: 3, mail a@b.c",
        "extra": {
            "api_key": SECRET,
            "pin_token": 12345,
            "credentials": {"user": "me", "more": [SECRET]},
            "auth": f"Bearer {SECRET}",
            "api_key_env": None,
        },
        "store": {"url": f"postgresql://u:{SECRET}@h/db"},
    }
    assert hide(plain) == {
        "prompt": "basic arithmetic, key: 3, mail a@b.c",
        "extra": {
            "api_key": "***",
            "pin_token": "***",
            "credentials": {"user": "***", "more": ["***"]},
            "auth": "***",
            "api_key_env": None,
        },
        "store": {"url": "postgresql://u:***@h/db"},
    }
    assert [*secrets_in(plain)] == [SECRET, "me", SECRET]
