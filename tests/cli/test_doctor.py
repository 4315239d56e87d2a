import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from collab.app.compose import expand_model_words, team_configs
from collab.config.config import ModelConfig
from collab.endpoints.profile import Profile
from collab.endpoints.scripted import attentive

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
PLAY = ("play", "question=What is 1 + 1?")


def verdicts(out: str) -> dict[str, str]:
    """Read the table: probe and verdict of each row."""
    rows = [
        line.split()
        for line in out.splitlines()
        if re.search(r" (ok|limited|broken|untried) *$", line)
    ]
    return {row[0]: row[-1] for row in rows}


SHIPPED = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml")
    if path.stem.startswith(("pocket_", "scripted_"))
)


@pytest.mark.long
@pytest.mark.parametrize("name", SHIPPED)
def test_whoever_is_in_the_box_keeps_an_endpoints_contract(
    command: Command, name: str, tmp_path: Path
) -> None:
    said = command("doctor", f"model={name}", f"runs={tmp_path}")
    assert said.status == 0, said.out + said.err
    found = verdicts(said.out)
    assert found["reply"] == "ok"
    assert "broken" not in found.values()


@pytest.mark.parametrize(
    ("words", "seated"),
    [
        (["experiment=code_recoverability"], ["scripted/weak", "scripted/strong"]),
        (["experiment=code_recoverability", "model@team.main=pocket_plain"], ["pocket/plain"]),
        (["model@team.main=pocket_plain,pocket_strong"], ["pocket/plain", "pocket/strong"]),
        (["experiment=openings", "questions.seed=1,2"], ["pocket/plain"]),
        (["team=pair", "team.main.temperature=0.1,0.2"], ["pocket/plain", "pocket/plain"]),
    ],
)
def test_whoever_sits_in_a_sweep_is_examined(words: list[str], seated: list[str]) -> None:
    mains = [config.team["main"] for config in team_configs(words)]
    assert [main.id for main in mains if isinstance(main, ModelConfig)] == seated


def test_a_healthy_endpoint_is_told_green_and_its_profile_kept(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with scripted(attentive) as bench:
        said = command("doctor", *bench.words, f"runs={runs}")
    assert (said.status, said.err) == (0, "")
    assert set(verdicts(said.out).values()) == {"ok"}
    assert "so far documented" in said.out
    assert "seats: writer, answerer, adviser; checked: real" in said.out
    (kept,) = (runs / "profiles").iterdir()
    assert str(kept) in said.out
    profile = Profile.load(kept)
    assert profile is not None
    assert (profile.checked, profile.broken) == ("real", ())


def test_a_model_without_tags_is_examined_like_any_other(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    untagged = ("team.main.think_open=''", "team.main.think_close=''")
    with scripted(lambda prompt: "One and one more. That makes two, so the answer is 2.") as bench:
        said = command("doctor", *bench.words, *untagged, f"runs={tmp_path / 'runs'}")
    assert (said.status, said.err) == (0, "")
    assert {verdicts(said.out)[probe] for probe in ("closing", "stop", "tags")} == {"ok"}


def test_a_broken_endpoint_is_named_and_stops_the_run_before_it_begins(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    runs = f"runs={tmp_path / 'runs'}"
    with scripted(attentive, traits=["parser_mislabels"]) as bench:
        words = [*bench.words, "team.main.dialect=chat_cfm", runs]
        said = command("doctor", *words)
        assert said.status == 1
        assert verdicts(said.out)["closing"] == "broken"
        assert "a run with it stops before it begins" in said.out
        before = len(bench.server.generating)
        stopped = command(*PLAY, *words)
        assert stopped.status == 1
        assert (
            "alters thoughts before it continues them in dialect 'chat_cfm' (closing: "
            in stopped.error
        )
        assert len(bench.server.generating) <= before + 3  # the look at the begin of a run
        doubtful = command(*PLAY, *words, "strict_prefill=false")
    assert "strict_prefill" not in doubtful.err


def test_a_run_waits_for_the_doctor_where_replies_do_not_tell_what_was_read(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted(attentive, api="deepseek") as bench:
        words = [
            *bench.words,
            "team.main.dialect=deepseek_prefix",
            "team.main.checkpoint=null",
            f"team.main.base_url={bench.url}/beta",
            f"runs={tmp_path / 'runs'}",
        ]
        refused = command(*PLAY, *words)
        assert "run collab doctor with the same words once" in refused.error
        examined = command("doctor", *words)
        assert examined.status == 0
        assert verdicts(examined.out)["stop"] == "limited"
        played = command(*PLAY, *words)
    assert (played.status, played.err) == (0, ""), played.out
    assert "answered after" in played.out


def test_a_profile_belongs_to_an_address_and_a_dialect(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with scripted(attentive) as bench:
        for dialect in ("ids", "text", "ids"):
            command("doctor", *bench.words, f"team.main.dialect={dialect}", f"runs={runs}")
    assert len(list((runs / "profiles").iterdir())) == 2


def test_the_growth_of_a_prompt_is_looked_at_before_every_run(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted(attentive, traits=["thinking_dropped"], api="deepseek") as bench:
        said = command(
            *PLAY,
            *bench.words,
            "strict_prefill=false",
            "team.main.dialect=deepseek_prefix",
            "team.main.checkpoint=null",
            f"team.main.base_url={bench.url}/beta",
            f"runs={tmp_path / 'runs'}",
        )
    assert "does not read the partial thoughts it is sent (0 tokens more instead of " in said.error


def test_the_models_of_a_team_are_examined_once_each(command: Command, tmp_path: Path) -> None:
    same = ["team=pair", "model@team.partner=pocket_plain"]
    said = command("doctor", *same, f"runs={tmp_path / 'runs'}")
    assert said.status == 0
    assert said.out.count("dialect ids") == 1


@pytest.mark.parametrize(
    ("word", "long"),
    [
        ("model=vllm", "model@team.main=vllm"),
        ("model.id=a/b", "team.main.id=a/b"),
        ("+model.limits.retries=1", "+team.main.limits.retries=1"),
        ("++model.top_p=1", "++team.main.top_p=1"),
        ("runs=here", "runs=here"),
    ],
)
def test_a_model_by_itself_is_spelled_out(word: str, long: str) -> None:
    assert expand_model_words(["model=vllm", word])[-1] == long
    assert expand_model_words(["team=pair"]) == ["team=pair"]


@pytest.mark.parametrize(
    ("traits", "came"),
    [
        ((), "as the first"),
        (("few_stops",), "max_stops is 4, not None"),
        (("double_bos",), "start"),
    ],
)
def test_every_replica_is_examined_and_must_be_as_the_first(
    command: Command, scripted: Scripted, tmp_path: Path, traits: tuple[str, ...], came: str
) -> None:
    with scripted(attentive) as bench, scripted(attentive, traits=traits) as other:
        replica = f"++team.main.replicas=['{other.url}/v1']"
        words = [*bench.words, "team.main.dialect=text", replica, f"runs={tmp_path / 'runs'}"]
        said = command("doctor", *words)
        sent = len(other.server.generating)
    assert sent > 10
    assert verdicts(said.out)["replica"] == ("broken" if traits else "ok")
    assert came in said.out.partition("replicas")[2]
    assert said.status == bool(traits)


def test_who_continues_no_thought_is_refused_the_pen_and_told_where_it_may_sit(
    command: Command, scripted: Scripted, tmp_path: Path
) -> None:
    with scripted(attentive, api="openai") as bench:
        words = [*bench.words, "team.main.dialect=none", "team.main.checkpoint=null"]
        command("doctor", *words, f"runs={tmp_path / 'runs'}")
        refused = command(*PLAY, *words, f"runs={tmp_path / 'runs'}")
    assert "seat 'main' must be able to write, which its endpoint cannot" in refused.error
    assert "dialect 'none' cannot continue a thought: give the seat another" in refused.error
    assert "or use a policy that lets this model answer (answer_by) or advise" in refused.error
