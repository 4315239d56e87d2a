"""The four shipped pocket reasoners: files, sizes, figures, and the same logits everywhere."""

import hashlib
import json
import random
from typing import Any

import pytest
from tokenizers import Tokenizer

from collab.pocket import tokenizer
from collab.pocket.family import problems
from collab.pocket.train import COURSES, MODELS, SHIPPED

FILES = (
    "card.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
WEAK = ("plain", "restating", "checking")


@pytest.fixture(scope="module")
def built() -> Tokenizer:
    return tokenizer.build()


def card(name: str) -> Any:
    """Load a card (`Any`: JSON)."""
    return json.loads((MODELS / name / "card.json").read_text())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_file_has_the_hash_that_was_written_down(name: str) -> None:
    lines = (MODELS / "SHA256SUMS").read_text().splitlines()
    written = {path: digest for digest, path in (line.split("  ") for line in lines)}
    for file in FILES:
        digest = hashlib.sha256((MODELS / name / file).read_bytes()).hexdigest()
        assert written[f"{name}/{file}"] == digest


def test_all_weights_together_stay_under_12_megabytes() -> None:
    sizes = [(MODELS / name / "model.safetensors").stat().st_size for name in SHIPPED]
    assert sum(sizes) < 12_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_config_is_a_plain_qwen3_with_tied_embeddings(name: str) -> None:
    config = json.loads((MODELS / name / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["tie_word_embeddings"]
    assert config["head_dim"] == 32
    tokens = json.loads((MODELS / name / "tokenizer.json").read_text())
    known = {*tokens["model"]["vocab"], *(token["content"] for token in tokens["added_tokens"])}
    assert config["vocab_size"] == len(known)


@pytest.mark.parametrize("name", WEAK)
def test_weak_models_solve_the_middle_level_often_and_not_always(name: str) -> None:
    assert 0.60 <= card(name)["solo"]["middle"]["rate"] <= 0.95


@pytest.mark.parametrize("name", WEAK)
def test_solve_counts_spread_over_all_of_0_to_8(name: str) -> None:
    counts = card(name)["solved_of_8_middle"]
    assert len(counts) == 9
    assert sum(1 for count in counts if count) >= 7


def test_strong_is_nearly_perfect_on_middle() -> None:
    assert card("strong")["solo"]["middle"]["rate"] > 0.95


@pytest.mark.parametrize("name", WEAK)
@pytest.mark.parametrize("level", ["middle", "hard"])
def test_strong_is_clearly_ahead(name: str, level: str) -> None:
    assert card("strong")["solo"][level]["rate"] > card(name)["solo"][level]["high"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_lengthened_opening_keeps_nine_tenths_of_solo_accuracy(name: str) -> None:
    assert card(name)["lengthened_opening"]["middle"]["ratio"] >= 0.9


@pytest.mark.parametrize("name", SHIPPED)
def test_training_sequences_are_half_as_long_again_as_the_longest_steered_one(name: str) -> None:
    lessons = pytest.importorskip("collab.pocket.lessons", reason="needs tokenizers")
    assert 1.5 * card(name)["longest_steered_tokens"] <= lessons.TRAINED_TOKENS


@pytest.mark.parametrize("name", SHIPPED)
def test_batches_really_hold_sequences_half_as_long_again_as_steered_ones(
    name: str, built: Tokenizer
) -> None:
    lessons = pytest.importorskip("collab.pocket.lessons", reason="needs tokenizers")
    course = COURSES[name]
    taught = lessons.Lessons(built, course.styles, course.levels, course.started_over)
    long = range(7, 80, 8)
    rows = [row for step in long for row in taught.batch("0", step)]
    longest = max(max(row.places) + 1 for row in rows)
    assert 1.5 * card(name)["longest_steered_tokens"] <= longest <= lessons.TRAINED_TOKENS


def test_examples_in_one_row_start_at_place_0_and_have_owners_of_their_own() -> None:
    lessons = pytest.importorskip("collab.pocket.lessons", reason="needs tokenizers")
    examples = [lessons.Example([7] * n, [True] * n) for n in (5, 4, 3)]
    first, second = lessons.pack(examples, width=8, rows=2)
    assert first.owner == [1] * 5 + [2] * 3
    assert first.places == [0, 1, 2, 3, 4, 0, 1, 2]
    assert second.taught == [True] * 4 + [False] * 4


def test_pieces_encode_as_the_tokenizer_does(built: Tokenizer) -> None:
    lessons = pytest.importorskip("collab.pocket.lessons", reason="needs tokenizers")
    rng = random.Random(5)
    taught = lessons.Lessons(built, SHIPPED, {"middle": 1.0})
    for request in tokenizer.REQUESTS * 20:
        problem, said = taught.text(rng, times=2)
        text = tokenizer.prompt(problem.text + request, tokenizer.SYSTEM)
        text += "".join(sentence.text for sentence in said) + tokenizer.closing(problem.answer)
        assert taught.encode(text) == built.encode(text).ids


@pytest.mark.parametrize("name", SHIPPED)
def test_transformers_computes_the_logits_that_were_trained(name: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from collab.analysis.pocket_cards import PocketReader
    from collab.pocket import network
    from collab.pocket.tokenizer import prompt

    reader = PocketReader(MODELS / name)
    ids = torch.tensor([reader.tokens.encode(prompt(problems("hard", 1)[0].text)).ids])
    places = torch.arange(ids.shape[1])[None]
    mask = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
    ours = network.logits(reader.weights, reader.shape, ids, places, mask)
    model = transformers.Qwen3ForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)
    with torch.inference_mode():
        theirs = model(ids).logits
    assert (ours - theirs).abs().max() < 1e-4
