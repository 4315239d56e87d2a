"""The shipped tokenizer, which all pocket reasoners share."""

import json
import random
from typing import Any

import pytest
from tokenizers import Tokenizer

from collab.pocket import tokenizer, train
from collab.pocket.family import LEVELS, draw
from collab.pocket.styles import STYLES

MODELS = train.MODELS
NAMES = ("plain", "restating", "checking", "strong")


@pytest.fixture(scope="module")
def shipped() -> Tokenizer:
    return Tokenizer.from_file(str(MODELS / "plain" / "tokenizer.json"))


@pytest.mark.parametrize("seed", range(200))
def test_any_text_comes_back_unchanged(shipped: Tokenizer, seed: int) -> None:
    rng = random.Random(seed)
    alphabets = (
        "abc XYZ",
        " \n\t\r",
        "0123456789",
        ".,!?{}\\",
        "äßçñ",
        "日本語",
        "👩‍👩‍👧 e\u0301",
        "\x00\x7f",
    )
    text = "".join(rng.choice(rng.choice(alphabets)) for _ in range(60))
    assert shipped.decode(shipped.encode(text).ids, skip_special_tokens=False) == text


def test_digits_full_stops_and_newlines_are_tokens_of_their_own(shipped: Tokenizer) -> None:
    tokens = shipped.encode("34 plus 17 is 51.\n\nSo 2026.").tokens
    assert tokens.count("Ċ") == tokens.count(".") == 2
    assert not any(len(token) > 1 and any(map(str.isdigit, token)) for token in tokens)


def test_encoding_by_sentences_equals_encoding_at_once(shipped: Tokenizer) -> None:
    rng = random.Random(0)
    for style in STYLES.values():
        lines = [s.text for s in style(draw("hard", rng, "train"), rng)]
        ids = [token for line in lines for token in shipped.encode(line).ids]
        assert ids == shipped.encode("".join(lines)).ids


def test_think_tags_stay_in_the_text_and_turn_tokens_do_not(shipped: Tokenizer) -> None:
    ids = shipped.encode("<|user|>a<think>b</think>c<|end|>").ids
    assert len(ids) == 7
    assert shipped.decode(ids) == "a<think>b</think>c"


def test_all_models_share_one_tokenizer() -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert len({(MODELS / model / name).read_bytes() for model in NAMES}) == 1


def test_building_anew_gives_the_shipped_tokenizer(shipped: Tokenizer) -> None:
    assert json.loads(tokenizer.build().to_str()) == json.loads(shipped.to_str())


@pytest.mark.parametrize("level", LEVELS)
def test_words_of_the_family_are_single_tokens(shipped: Tokenizer, level: str) -> None:
    problem = draw(level, random.Random(1), "test")
    said = "".join(s.text for s in STYLES["plain"](problem, random.Random(1)))
    digits = sum(map(str.isdigit, said))
    assert len(shipped.encode(said).ids) <= digits + 2 * len(said.split())


@pytest.fixture(scope="module")
def hugging() -> Any:
    """Load the tokenizer with transformers (`Any`: transformers may be absent)."""
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(MODELS / "plain")


def rendered(hugging: Any, *messages: dict[str, str], prompted: bool) -> str:
    """Render a chat (`Any`: see `hugging`)."""
    chat = list(messages)
    text = hugging.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompted)
    assert isinstance(text, str)
    return text


def test_generation_prompt_opens_the_think_block(hugging: Any) -> None:
    text = rendered(hugging, {"role": "user", "content": "How many?"}, prompted=True)
    assert text == tokenizer.prompt("How many?")
    assert text.endswith("<think>\n")


def test_system_prompt_is_rendered_only_if_given(hugging: Any) -> None:
    system, user = {"role": "system", "content": "Be."}, {"role": "user", "content": "How many?"}
    text = rendered(hugging, system, user, prompted=True)
    assert text == tokenizer.prompt("How many?", system="Be.")


@pytest.mark.parametrize(
    "turn",
    [
        {"content": "<think>\n1 plus 1 is 2.\n</think>\n\nThe answer is \\boxed{2}."},
        {"content": "The answer is \\boxed{2}.", "reasoning_content": "1 plus 1 is 2.\n"},
    ],
)
def test_finished_turns_are_rendered_as_they_were_written(
    hugging: Any, turn: dict[str, str]
) -> None:
    user = {"role": "user", "content": "How many?"}
    text = rendered(hugging, user, {"role": "assistant", **turn}, prompted=False)
    written = tokenizer.prompt("How many?") + "1 plus 1 is 2.\n" + tokenizer.closing(2)
    assert text == written + "\n"


def test_ids_equal_those_of_the_bare_tokenizer(hugging: Any, shipped: Tokenizer) -> None:
    thinking = "34 plus 17 is 51.\n"
    text = tokenizer.prompt("Mia has 34 apples.") + thinking + tokenizer.closing(51)
    assert hugging(text)["input_ids"] == shipped.encode(text).ids
