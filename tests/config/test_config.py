import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

from collab.app.compose import composed
from collab.config.config import ModelConfig, RunConfig, build, make, read_config
from collab.core.boundary import Boundary, Sentence
from collab.core.policy import Policy
from collab.core.sampling import Sampling
from collab.errors import ConfigError
from collab.runs.run_folder import digest
from collab.scenarios.base import Scenario

CONF = Path(__file__).parents[2] / "conf"
GUIDED = ("scenario=guidability", "policy=guide", "team=guided")
HELPED = ("scenario=collaboration", "policy=offload", "team=helped")
OVERSEEN = ("scenario=collaboration", "policy=overseer", "team=overseen")
DRAFTED = ("scenario=collaboration", "policy=speculate", "team=drafted")
PLANNED = ("scenario=collaboration", "policy=plan_then_solve", "team=planned")
JUDGED = ("scenario=collaboration", "policy=propose_and_choose", "team=judged")
FITTING: Mapping[str, Sequence[str]] = {
    "policy=alternate": ("scenario=collaboration", "team=pair"),
    "policy=answer_by": ("scenario=collaboration", "team=pair"),
    "policy=until": ("scenario=collaboration", "team=solo"),
    "policy=random_switch": ("scenario=collaboration", "team=pair"),
    "policy=fixed_ratio": ("scenario=collaboration", "team=pair"),
    "policy=self_handoff": ("scenario=collaboration", "team=solo"),
    "policy=offload": HELPED,
    "policy=overseer": OVERSEEN,
    "policy=speculate": DRAFTED,
    "policy=speculative_thinking": ("scenario=collaboration", "team=helped"),
    "policy=budget_force": ("scenario=collaboration", "team=solo"),
    "policy=intervene": ("scenario=collaboration", "team=solo"),
    "policy=plan_then_solve": PLANNED,
    "policy=propose_and_choose": JUDGED,
    "policy=human": ("scenario=collaboration", "team=tended"),
    "policy=tool": ("scenario=collaboration", "team=tooled"),
    "team=tooled": ("scenario=collaboration", "policy=tool"),
    "team=tended": ("scenario=collaboration", "policy=human", "team=tended"),
    "policy=fork_join": ("scenario=collaboration", "team=pair"),
    "policy=aggregate": ("scenario=collaboration", "team=pair"),
    "twin=safety": ("questions.path=mine.jsonl", "scenario.thoughts=mine.jsonl"),
    "policy=guide": GUIDED,
    "scenario=guidability": GUIDED,
    "team=guided": GUIDED,
    "team=guided_by_two": GUIDED,
    "team=helped": HELPED,
    "team=overseen": OVERSEEN,
    "team=drafted": DRAFTED,
    "team=planned": PLANNED,
    "team=judged": JUDGED,
    "team=pair": ("scenario=collaboration", "policy=alternate"),
    "policy=solo": ("scenario=solo", "team=solo"),
    "scenario=collaboration": ("policy=alternate", "team=pair"),
    "team=solo": ("scenario=solo", "policy=solo"),
}
"""What must be chosen beside an option for a run to make sense."""
OPEN: Mapping[str, Mapping[str, object]] = {
    "model": {
        "id": "mine/model",
        "checkpoint": "mine/model",
        "served": "mine",
        "context": 4096,
        "base_url": "http://127.0.0.1:1",
        "api_key_env": "MINE",
    },
    "questions=jsonl": {"path": "mine.jsonl"},
    "questions=hub": {"repo": "mine/questions", "files": "[test.jsonl]"},
}
"""Values for what an option leaves open (`???`)."""


def options() -> Iterator[tuple[str, str]]:
    """List every option of every group of our conf."""
    with initialize_config_module("collab.conf", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        for group in sorted(loader.list_groups("")):
            if group != "hydra":
                for name in loader.get_group_options(group, ObjectType.CONFIG):
                    if group != "questions" or not name.startswith("_"):
                        yield group, name


VLLM = ("model@team.main=vllm", "team.main.id=a/b")
OPTIONS = list(options())
GROUPS = {"boundary": "until", "condition": "policy"}
"""Groups whose value has another name once it is built."""


@cache
def config(*overrides: str) -> RunConfig:
    with initialize_config_module("collab.conf", version_base="1.3"):
        return read_config(compose("config", overrides=list(overrides)))


def overrides_for(group: str, name: str) -> list[str]:
    """Choose an option, with what fits it and what it leaves open."""
    beside = FITTING.get(f"{group}={name}", ())
    if group == "condition":
        return [*HELPED, f"condition@policy.when={name}"]
    if group == "model" and name == "python":
        return ["scenario=collaboration", "policy=tool", "team=tooled", "model@team.tool=python"]
    place, at = ("model@team.distractor", "team.distractor") if group == "model" else (group, group)
    given = OPEN.get(f"{group}={name}") or OPEN.get(group, {})
    if group == "model":
        text = (CONF / group / f"{name}.yaml").read_text()
        left_open = {key for key in given if re.search(rf"^{key}: \?\?\?", text, re.MULTILINE)}
        # in some the id is open in the file that they begin with
        given = {
            key: given[key] for key in left_open | {"id"} if name not in ("recording", "human")
        }
    values = [f"{at}.{key}={value}" for key, value in given.items()]
    return [*beside, f"{place}={name}", *values]


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_every_option_composes_and_builds_with_all_its_settings_in_its_file(
    group: str, name: str
) -> None:
    composed = config(*overrides_for(group, name))
    built = build(composed)
    assert isinstance(built.policy, Policy)
    assert isinstance(built.scenario, Scenario)
    condition = group == "condition"
    plain = composed.policy["when"] if condition else getattr(composed, group, None)
    if isinstance(plain, dict) and "_target_" in plain:
        value = getattr(built, GROUPS.get(group, group))
        value = value.when if condition else value
        assert set(type(value).model_fields) == set(plain) - {"_target_"}


def test_every_group_has_options() -> None:
    groups = {group for group, _ in OPTIONS}
    on_disk = {path.parent.name for path in CONF.glob("*/*.yaml")}
    assert groups == on_disk


@pytest.mark.parametrize("name", [name for group, name in OPTIONS if group == "experiment"])
def test_an_experiment_is_named_as_its_file(name: str) -> None:
    assert config(f"experiment={name}").name == name


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_a_target_is_named_as_its_option(path: Path) -> None:
    plain = OmegaConf.to_container(OmegaConf.load(path))
    target = plain.get("_target_") if isinstance(plain, dict) else None
    if target is not None and path.parent.name in ("policy", "scenario"):
        assert target.split(".")[-2] == path.stem


def test_models_are_changed_in_place() -> None:
    changed = config("model@team.main=pocket_checking", "team.main.temperature=0.1")
    main = changed.team["main"]
    assert isinstance(main, ModelConfig)
    assert (main.id, main.sampling) == ("pocket/checking", Sampling(temperature=0.1))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["policy=nonsense"],
            r"there is no policy 'nonsense' \(there are: aggregate, alternate, .*guide",
        ),
        (["nonsense=1"], r"there is no setting 'nonsense' \(settings: "),
        (["+nonsense=1"], r"^nonsense: there is no such setting \(settings there: .*policy"),
        (
            ["model@team.main=openai", "team.main.api_key_env=gsk_a1"],
            r"^team\.main\.api_key_env: it must be the NAME of an environment variable[^1]*$",
        ),
        (["+team.main.api_key=sk-1"], r"^team\.main\.api_key: there is no such setting [^1]*$"),
        (["+policy.nonsense=1"], r"policy\.nonsense: there is no such .*there: .*phrase"),
        (["+team.main.nonsense=1"], r"^team\.main\.nonsense: there is no such .*kind, id"),
        (["policy.at=1.7"], r"^policy\.at: .*less than or equal to 1 \(given: 1\.7\)$"),
        (["scenario.points=[0.2,1.7]"], r"^scenario\.points\.1: .*\(given: 1\.7\)$"),
        (["scenario.length=1.7"], r"^scenario\.length: .*\(given: 1\.7\)$"),
        (["scenario.points=[]"], r"^scenario\.points: .*at least 1"),
        ([*GUIDED, "scenario.lengths=[1.7]"], r"^scenario\.lengths\.0: .*\(given: 1\.7\)$"),
        (["policy.phrase='Wait. '"], "ends in a space"),
        (
            [*VLLM, "team.main.double_bos=true", "team.main.dialect=chat_cfm"],
            r"double_bos=true with dialect 'chat_cfm'",
        ),
        (["budget=much"], r"^budget: .*\(given: 'much'\)$"),
        (["budget=0"], r"^budget: "),
        (["name=a b"], "^name: "),
        (["prompt.user=Think."], "lacks '{question}'"),
        (["questions=jsonl"], r"^questions\.path: Missing mandatory value"),
        (["model@team.main=vllm"], r"^team\.main\.id: Missing mandatory value"),
        (["boundary=regex", "boundary.pattern='('"], "is not a regular expression"),
        (["policy.main=nobody"], r"policy\.main='nobody' would have no effect: .* to 'main'"),
        (["policy.at=0.4"], r"policy\.at=0\.4 would have no effect"),
        (["scenario=solo", "policy.main=nobody"], r"'nobody' is not in the team \(seats: distr"),
        (["scenario.distractor=nobody"], "seat 'nobody' is not in the team"),
        (["scenario.source=nobody"], "needs solo draws of seat 'nobody', which has no model"),
        (["model@team.main=recording"], r"seat 'main', which has no model .*model@team\.main"),
        (
            ["scenario=collaboration", "policy=solo", "model@team.main=recording"],
            "has no recordings",
        ),
        (["scenario=guidability", "team=guided"], r"sets guide, which policy Distractor lacks"),
        (["policy=solo"], r"sets at, distractor, length, steer_tokens, which policy Solo lacks"),
        (
            ["policy._target_=collab.core.boundary.End"],
            r"'collab\.core\.boundary\.End' is no Policy",
        ),
        (["policy._target_=collab.policies.solo.nothing"], r"'collab\.policies\.solo\.nothing'"),
        (["policy._target_=nowhere.Mine"], r"cannot be loaded: .*No module named 'nowhere'"),
        (["policy._target_=os.system"], r"policy\._target_='os\.system' cannot be loaded"),
        (["scenario._target_=collab.policies.solo.Solo"], "is no Scenario"),
        (["boundary._target_=collab.policies.solo.Solo"], "is no Boundary"),
        (["questions._target_=collab.policies.solo.Solo"], "is no QuestionSet"),
        (["~policy._target_"], "policy names no class"),
        (["boundary"], "cannot read 'boundary'; a setting is key=value"),
        (["store.url=sqlite:///x?a=b"], """: "store.url='sqlite:///x\\?a=b'\"$"""),
        (["policy.main={_target_:subprocess.Popen,args:[true]}"], "is no Settings or Policy"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        composed(overrides)
    assert "\n" not in str(refused.value)


class Nested:
    """A policy that holds another value that is configured."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, until: Boundary) -> None:
        self.until = until

    async def decide(self, view: object) -> Any:
        raise NotImplementedError


def test_a_target_inside_a_target_is_made_too() -> None:
    inner = {"_target_": "collab.core.boundary.Sentence"}
    made = make({"_target_": f"{__name__}.Nested", "until": inner}, Policy, "policy")
    assert made.until == Sentence()


def test_neither_addresses_nor_places_nor_speed_decide_the_numbers() -> None:
    one = config()
    moved = config(
        "name=other",
        "runs=elsewhere",
        "concurrency=3",
        "grader.maths.workers=1",
        "+team.main.launch.startup=3",
        "store.url=elsewhere.sqlite",
    )
    assert moved.decides() == one.decides()


@pytest.mark.parametrize(
    "change",
    [
        "budget=99",
        "replicate=1",
        "team.main.temperature=0.1",
        "policy.phrase=Hm.",
        "scenario.length=0.3",
        "questions.seed=1",
        "prompt=boxed",
        "grader.maths.seconds=1",
        "boundary=sentence",
        "model@team.main=pocket_strong",
    ],
)
def test_whatever_changes_the_numbers_changes_the_digest(change: str) -> None:
    assert digest(config(change).decides()) != digest(config().decides())


def test_a_key_never_reaches_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    made = config("model@team.main=vllm", "team.main.id=a/b", "team.main.api_key_env=MY_KEY")
    assert "secret" not in str(made)
    assert "MY_KEY" not in str(made.decides())
