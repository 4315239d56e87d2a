from hashlib import sha256
from pathlib import Path

import pytest

from collab.app.connect import ModelKit
from collab.app.downloads import downloads, is_missing
from collab.app.model_identity import checkpoint, hashes, identity, is_known, serves
from collab.app.session import OfflineEndpoint
from collab.config.config import ModelConfig
from collab.endpoints.profile import Profile
from tests.gguf_file import metadata, write


def model(file: Path | str, **fields: object) -> ModelConfig:
    return ModelConfig.model_validate({"id": "a/b", "checkpoint": str(file), **fields})


def test_a_model_is_named_by_the_hash_of_its_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", metadata())
    one = model(file, revision="main")
    assert identity(one) == f"b@{sha256(file.read_bytes()).hexdigest()[:12]}"
    assert is_known(one)
    named = hashes(one)
    write(file, metadata(eos_token_id=0))
    assert identity(one) != named["identity"]
    assert hashes(one)["tokenizer"] == named["tokenizer"]
    assert hashes(one)["template"] != named["template"]


def test_the_file_alone_gives_tokenizer_template_and_context(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", metadata())
    one = model(file)
    kit = ModelKit.load(one, checkpoint(one))
    assert kit.tokenizer is not None
    assert kit.frame is not None
    assert OfflineEndpoint(Profile(), file).profile.max_model_len == 2048
    assert serves(one).model == str(file)


def test_a_file_of_the_hub_that_is_not_here_is_named_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collab.app.compose import composed

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    config = composed(["model@team.main=qwen3_0_6b_gguf"]).config
    assert [*downloads(config)] == ["Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf (0.64 GB)"]
    here = write(tmp_path / "a.gguf", metadata())
    assert not is_missing(str(here))
    assert not is_missing("owner/name")
