"""The models that ship as files: the paper's, the families of templates, the APIs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hydra import compose, initialize_config_module

from collab.analysis.published import published
from collab.app.connect import ModelKit
from collab.app.trust import _shipped_pairs
from collab.config.config import About, ModelConfig, read_config
from collab.core.trajectory import Message, Phase, Trajectory, Unit, Wrote
from collab.endpoints.dialects import IdsDialect
from collab.endpoints.tokens import Tokenizer
from collab.errors import ConfigError
from tests.engines.families import FAMILIES, make

CONF = Path(__file__).parents[1] / "conf" / "model"
OPEN = [file.stem for file in sorted(CONF.glob("*.yaml")) if "\n  - _open\n" in file.read_text()]
APIS = [file.stem for file in sorted(CONF.glob("*.yaml")) if "\n  - _api\n" in file.read_text()]
GUIDES = {"DeepSeek-R1", "Qwen3-235B-A22B", "QwQ-32B"}
ASKED = (Message("user", "Q"),)


@cache
def seated() -> dict[str, ModelConfig]:
    """Put every model into a seat of its own."""
    words = ["team=solo", "scenario=solo", "policy=solo"]
    for name in (*OPEN, *APIS):
        text = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
        words.append(f"+model@team.{name}={name}")
        left = {"id"} if "\nid: " not in text else set()
        left |= {"checkpoint"} if "\ncheckpoint: ???" in text else set()
        words += [f"team.{name}.{key}=mine/it" for key in sorted(left)]
    with initialize_config_module("collab.conf", version_base="1.3"):
        team = read_config(compose("config", overrides=words)).team
    return {name: one for name, one in team.items() if isinstance(one, ModelConfig)}


def model(name: str) -> ModelConfig:
    return seated()[name]


def kit(one: ModelConfig, folder: Path) -> ModelKit:
    assert one.about.template is not None
    return ModelKit.load(one, make(one.about.template, folder))


def test_every_model_of_the_paper_has_a_file() -> None:
    evaluated = {one.model for one in published(1)}
    assert len(evaluated) == 15
    assert {paper for name in OPEN if (paper := model(name).about.paper)} == evaluated | GUIDES


def test_the_papers_models_are_sampled_as_in_the_paper() -> None:
    for name in OPEN:
        one = model(name)
        assert (one.temperature, one.top_p, one.top_k, one.context) == (0.6, 0.95, -1, 32768)
        assert (one.revision, one.checked, one.checkpoint) == ("main", "documented", one.id)
        about = one.about
        assert about.context is None or about.context >= 32768
        assert None not in (about.family, about.licence, about.rl, about.size, one.parameters)


def test_what_is_only_told_of_a_model_decides_nothing() -> None:
    with initialize_config_module("collab.conf", version_base="1.3"):
        config = read_config(compose("config"))
    told = {"about": About(licence="mine"), "checked": "engine"}
    main = config.team["main"].model_copy(update=told)
    other = config.model_copy(update={"team": {**config.team, "main": main}})
    assert other.team != config.team
    assert other.decides() == config.decides()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_opens_its_think_block_once(family: str, tmp_path: Path) -> None:
    frame = kit(model(FAMILIES[family].conf), tmp_path).frame
    assert frame is not None
    assert frame.head(ASKED) == FAMILIES[family].head


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_familys_template_does_is_in_the_docs(family: str, tmp_path: Path) -> None:
    frame = kit(model(FAMILIES[family].conf), tmp_path).frame
    assert frame is not None
    tags = bool(frame.think_close)
    earlier = Message("assistant", "<think>\nHm.\n</think>\n\n7")
    kept = "Hm." in frame.template.render((*ASKED, earlier, *ASKED))
    told = (
        ("yes" if frame.opens(ASKED) else "no") if tags else "no: has no block",
        "all" if kept else "the answers",
        "yes" if "system" in frame.head(ASKED) else "no",
        "yes" if FAMILIES[family].starts else "no",
    )
    page = (CONF.parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"| `{family}` | {' | '.join(told)} |" in page


@pytest.mark.parametrize("name", OPEN)
def test_a_model_goes_on_with_a_thought_and_answers_when_it_is_told_to(
    name: str, tmp_path: Path
) -> None:
    one = model(name)
    read_from = kit(one, tmp_path)
    frame, tokenizer = read_from.frame, read_from.tokenizer
    assert frame is not None
    assert tokenizer is not None
    dialect = IdsDialect(frame, tokenizer)
    thought = Trajectory().add(Wrote(Unit("guide", "It is 7.\n", "inserted")))
    head = frame.head(ASKED)
    phases: Mapping[Phase, str] = {
        "thinking": "",
        "answer": one.force_answer or one.think_close,
    }
    for phase, between in phases.items():
        prompt = dialect.prompt(ASKED, thought, phase, "main").prompt
        assert isinstance(prompt, tuple)
        assert tokenizer.decode(prompt) == f"{head}It is 7.\n{between}"
    tag = one.think_open.strip()
    assert not tag or head.endswith(one.think_open)
    assert one.force_answer is None or not tag or one.think_close in one.force_answer


def test_a_template_that_was_told_not_to_think_is_refused(tmp_path: Path) -> None:
    told = model("qwen3_8b").model_copy(update={"template": {"enable_thinking": False}})
    frame = kit(told, tmp_path).frame
    assert frame is not None
    with pytest.raises(ConfigError, match=r"closed think block .*enable_thinking: true"):
        frame.head(ASKED)


def test_a_start_token_is_never_doubled(tmp_path: Path) -> None:
    for name in (name for name, family in FAMILIES.items() if family.adds_start):
        tokenizer = Tokenizer.load(make(name, tmp_path))
        assert tokenizer.raw.encode("Q").tokens[0] == FAMILIES[name].special[0]
        assert tokenizer.encode("Q") == tuple(tokenizer.raw.encode("Q").ids[1:])


@pytest.mark.parametrize("name", [*OPEN, *APIS])
def test_a_model_is_in_the_docs(name: str) -> None:
    page = (CONF.parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in page


@pytest.mark.parametrize("name", APIS)
def test_an_api_names_where_its_key_goes(name: str) -> None:
    api = model(name)
    assert api.base_url is not None
    assert (api.api_key_env, urlsplit(api.base_url).hostname) in _shipped_pairs()
    assert api.checked == "documented"
    assert api.launch is None
    cached = api.prices.cached
    assert cached is None or cached <= api.prices.prompt <= api.prices.completion
