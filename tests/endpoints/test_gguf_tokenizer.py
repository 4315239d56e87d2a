from pathlib import Path

import pytest

from collab.core.trajectory import Message
from collab.endpoints.tokens import Tokenizer, model_files
from collab.errors import ConfigError
from collab.templates.template import Template
from tests.gguf_file import MERGES, SPECIAL, TOKENS, Value, metadata, write


def load(folder: Path, **changes: Value) -> Tokenizer:
    return Tokenizer.load(write(folder / "a.gguf", metadata(**changes)))


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [TOKENS[index] for index in tokenizer.encode(text)]


def test_text_is_cut_as_the_files_kind_cuts_it(tmp_path: Path) -> None:
    assert pieces(load(tmp_path), "is 1234") == ["is", "Ġ", "1", "2", "3", "4"]
    three = load(tmp_path, pre="llama-bpe")
    assert pieces(three, "is 1234") == ["is", "Ġ", "12", "3", "4"]
    assert pieces(load(tmp_path, pre="gpt-2"), "is 1234") == ["is", "Ġ", "1234"]


def test_any_text_comes_back_from_its_ids(tmp_path: Path) -> None:
    text = "é 你好 😀 e\u0301\r\n\t  x<|end|><think>\n</think> 12,345"
    for kind in ("qwen2", "smollm", "gpt-2", "llama-bpe", "gpt-4o"):
        tokenizer = load(tmp_path, pre=kind)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens_end_a_turn_and_tags_do_not(tmp_path: Path) -> None:
    tokenizer = load(tmp_path)
    assert pieces(tokenizer, "<think>is</think><|end|>") == ["<think>", "is", "</think>", "<|end|>"]
    assert tokenizer.end_ids == {TOKENS.index(token) for token in SPECIAL}


def test_the_fingerprint_changes_with_what_decides_the_ids_alone(tmp_path: Path) -> None:
    first = load(tmp_path).fingerprint
    assert load(tmp_path, eos_token_id=0).fingerprint == first
    assert load(tmp_path, merges=MERGES[:-1]).fingerprint != first
    assert load(tmp_path, pre="llama-bpe").fingerprint != first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "llama"}, "is 'llama' cut as 'qwen2', which is not known here"),
        ({"pre": "default"}, "'gpt2' cut as 'default'"),
        ({"merges": ["no such"]}, "is not whole"),
    ],
)
def test_a_tokenizer_that_cannot_be_built_is_refused_by_name(
    changes: dict[str, Value], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, **changes)


def test_the_template_of_a_file_is_rendered_with_its_tokens(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", metadata())
    template = Template.load(file)
    assert template.render((Message("user", "Q"),)) == "<|user|>Q<|end|><think>\n"
    assert template.origin == str(file)


def test_a_file_without_a_template_is_refused_by_name(tmp_path: Path) -> None:
    values = metadata()
    del values["tokenizer.chat_template"]
    file = write(tmp_path / "a.gguf", values)
    with pytest.raises(ConfigError, match=r"a\.gguf' has no chat template"):
        Template.load(file)


def test_a_file_that_is_neither_here_nor_on_the_hub_says_how_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"owner/name/file\.gguf of the hub"):
        model_files(tmp_path / "missing.gguf")
    with pytest.raises(ConfigError, match=r"owner/name/file\.gguf of the hub"):
        model_files("missing.gguf")
