from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pytest

from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect, Frame
from collab.endpoints.doctor import Doctor
from collab.endpoints.limits import Limits
from collab.endpoints.profile import DialectName, Finding, Profile
from collab.endpoints.registry import choose
from collab.endpoints.scripted import (
    TEMPLATE,
    Api,
    Script,
    ScriptedServer,
    Trait,
    WordTokenizer,
    attentive,
    recite,
)
from collab.endpoints.tokens import Tokenizer
from collab.errors import ConfigError, Denied, Unreachable
from collab.templates.template import Template

TAGS = ("<think>\n", "</think>")
HOMES: dict[DialectName, Api] = {
    "ids": "vllm",
    "text": "vllm",
    "sglang": "sglang",
    "llamacpp": "llamacpp",
    "ollama": "ollama",
    "chat_cfm": "vllm",
    "chat_cfm_after_gen": "sglang",
    "reasoning_field": "llamacpp",
    "deepseek_prefix": "deepseek",
    "mistral_prefix": "mistral",
    "partial": "kimi",
    "none": "openai",
}


@dataclass(frozen=True)
class Examined:
    profile: Profile
    sent: int

    @property
    def odd(self) -> dict[str, str]:
        """What is not as it should be, by probe."""
        found = self.profile.findings
        return {each.probe: each.came for each in found if each.verdict in ("limited", "broken")}


@dataclass(frozen=True)
class Practice:
    """Examines scripted servers whose tokenizer and template are known, or are not."""

    tokenizer: Tokenizer
    words: WordTokenizer

    async def examine(
        self,
        name: DialectName,
        traits: Sequence[Trait] = (),
        script: Script = attentive,
        *,
        known: bool = True,
        context: int | None = 4096,
        api: Api | None = None,
        template: str = TEMPLATE,
        tell: Callable[[Finding], None] = lambda finding: None,
    ) -> Examined:
        frame, tokenizer = (Frame(Template(template)), self.tokenizer) if known else (None, None)

        def dialect(profile: Profile) -> Dialect:
            return choose(profile, frame, tokenizer, *TAGS)

        api = api or HOMES[name]
        server = ScriptedServer(
            script, api=api, traits=traits, template=template, tokenizer=self.words
        )
        async with server:
            url = server.url + ("/beta" if api == "deepseek" else "")
            profile, limits = Profile(dialect=name, max_model_len=context), Limits(retries=0)
            async with Endpoint(url, "scripted", tokenizer, profile=profile, limits=limits) as end:
                found = await Doctor(end, tokenizer, dialect, TAGS, tell).examine()
                assert end.profile == found
        return Examined(found, len(server.generating))


@pytest.fixture
def doctor(wordy: Tokenizer, spoken: Callable[[Tokenizer], WordTokenizer]) -> Practice:
    return Practice(wordy, spoken(wordy))


@pytest.mark.parametrize("name", ["ids", "text", "chat_cfm"])
async def test_a_healthy_server_is_all_green(doctor: Practice, name: DialectName) -> None:
    found = await doctor.examine(name)
    assert {each.verdict for each in found.profile.findings} - {"untried"} == {"ok"}
    assert found.profile.seats == ("writer", "answerer", "adviser")
    assert found.profile.checked == "real"
    assert found.profile.max_model_len == 4096


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("sglang", {"logprobs"}),
        ("chat_cfm_after_gen", {"ids"}),
        ("llamacpp", {"stop", "choices", "logprobs"}),
        ("ollama", {"ids", "stop", "choices", "logprobs"}),
        ("reasoning_field", {"ids", "stop"}),
        ("deepseek_prefix", {"stop"}),
        ("mistral_prefix", {"reply", "stop"}),
        ("partial", {"stop"}),
    ],
)
async def test_what_an_api_never_does_is_named_and_leaves_the_pen(
    doctor: Practice, name: DialectName, odd: set[str]
) -> None:
    found = await doctor.examine(name)
    assert found.odd.keys() == odd
    assert found.profile.broken == ()
    assert "writer" in found.profile.seats


async def test_an_api_that_continues_nothing_advises_and_answers(doctor: Practice) -> None:
    found = await doctor.examine("none", known=False)
    assert found.profile.seats == ("answerer", "adviser")
    assert found.profile.thinking_returned == "none"
    assert found.odd.keys() == {"stop"}


TRAPS: list[tuple[DialectName, Trait, str, str]] = [
    ("ids", "n_ignored", "choices", "1 returned"),
    ("ids", "n_refused", "choices", "refused"),
    ("ids", "few_stops", "stops", "at most 4"),
    ("ids", "no_token_ids", "ids", "set dialect: text"),
    ("ids", "no_usage", "usage", "have no token counts"),
    ("ids", "usage_of_one", "usage", "two choices of"),
    ("ids", "seed_ignored", "seed", "a rerun differs"),
    ("ids", "sampling_fixed", "temperature", "ignores temperature 0"),
    ("ids", "stop_ignored", "stop", "not stopped"),
    ("ids", "stop_trimmed", "stop", "missing from the text, but in the ids"),
    ("ids", "logprobs_refused", "logprobs", "refused"),
    ("ids", "ids_refused", "fields", "must be a string"),
    ("text", "double_bos", "start", "changed the prompt"),
    ("chat_cfm", "double_bos", "start", "changed the prompt"),
    ("chat_cfm", "bos", "start", "changed the prompt"),
    ("chat_cfm", "empty_think", "tags", "changed the prompt"),
    ("chat_cfm", "double_think", "tags", "changed the prompt"),
    ("chat_cfm", "thinking_dropped", "growth", "dropped"),
    ("chat_cfm", "prefix_dropped", "growth", "dropped"),
    ("chat_cfm", "continue_ignored", "carry-over", "changed the prompt"),
    ("chat_cfm", "prefix_echoed", "reply", "the text repeats the prefix"),
    ("chat_cfm", "wrong_field", "closing", "as reasoning, but the request"),
    ("chat_cfm", "parser", "reply", "in the field reasoning"),
    ("chat_cfm", "parser_mislabels", "closing", "as reasoning, but the request"),
    ("chat_cfm_after_gen", "double_think", "tags", "changed the prompt"),
    ("reasoning_field", "thinking_dropped", "growth", "dropped"),
    ("deepseek_prefix", "double_bos", "start", "changed the prompt"),
    ("deepseek_prefix", "parser_mislabels", "closing", "as reasoning, but the request"),
]
NAMELESS_TRAPS: list[tuple[DialectName, Trait, str, str]] = [
    ("chat_cfm", "empty_think", "tags", "an empty block"),
    ("chat_cfm", "double_think", "tags", "more than without a prefix"),
    ("chat_cfm_after_gen", "empty_think", "tags", "an empty block"),
    ("chat_cfm_after_gen", "double_think", "tags", "more than without a prefix"),
    ("chat_cfm", "continue_ignored", "carry-over", "does not continue the thought"),
    ("deepseek_prefix", "continue_ignored", "tags", "closed and opened again"),
    ("deepseek_prefix", "empty_think", "tags", "an empty block"),
    ("deepseek_prefix", "double_think", "tags", "more than without a prefix"),
    ("deepseek_prefix", "thinking_dropped", "growth", "dropped"),
    ("deepseek_prefix", "prefix_dropped", "carry-over", "does not continue the thought"),
    ("deepseek_prefix", "prefix_echoed", "reply", "after the prefix"),
    ("deepseek_prefix", "wrong_field", "reply", "in the field content"),
    ("deepseek_prefix", "no_usage", "growth", "no count of prompt tokens"),
    ("deepseek_prefix", "summary", "thinking", "a summary"),
    ("deepseek_prefix", "thinking_hidden", "thinking", "the thinking is hidden"),
    ("deepseek_prefix", "usage_of_one", "usage", "two choices of"),
    ("deepseek_prefix", "sampling_fixed", "temperature", "ignores temperature 0"),
    ("mistral_prefix", "thinking_dropped", "reply", "but not thoughts"),
    ("partial", "prefix_dropped", "reply", "but not thoughts"),
    ("none", "summary", "thinking", "a summary"),
    ("none", "n_refused", "choices", "refused"),
    ("chat_cfm", "no_tokenize", "tokens", "measured in characters"),
]


async def test_a_context_that_is_not_told_is_named_unless_it_is_set(doctor: Practice) -> None:
    found = await doctor.examine("ids", ["context_hidden"], context=None)
    assert found.odd == {"model": "served; its context is unknown: set context"}
    assert found.profile.max_model_len is None
    known = await doctor.examine("ids", ["context_hidden"])
    assert (known.odd, known.profile.max_model_len) == ({}, 4096)


MISSING: set[Trait] = {"no_chat", "no_completions"}
"""Routes that are not there: an error, and no finding."""


def test_every_trap_of_the_scripted_server_is_tried() -> None:
    tried = {trait for _, trait, _, _ in (*TRAPS, *NAMELESS_TRAPS)}
    assert tried | MISSING | {"context_hidden", "drifting"} == set(get_args(Trait))


@pytest.mark.parametrize(("name", "trait", "probe", "says"), TRAPS)
async def test_a_trap_is_named(
    doctor: Practice, name: DialectName, trait: Trait, probe: str, says: str
) -> None:
    found = await doctor.examine(name, [trait])
    assert says in found.odd[probe]


@pytest.mark.parametrize(("name", "trait", "probe", "says"), NAMELESS_TRAPS)
async def test_a_trap_is_named_where_no_template_is_known(
    doctor: Practice, name: DialectName, trait: Trait, probe: str, says: str
) -> None:
    found = await doctor.examine(name, [trait], known=False)
    assert says in found.odd[probe]


@pytest.mark.parametrize(
    "trait",
    ["continue_ignored", "double_bos", "empty_think", "parser_mislabels", "thinking_dropped"],
)
async def test_whoever_alters_a_prompt_may_not_write(doctor: Practice, trait: Trait) -> None:
    found = await doctor.examine("chat_cfm", [trait])
    assert found.profile.broken
    assert found.profile.seats == ("answerer", "adviser")


async def test_a_start_that_is_read_twice_is_named_by_its_ids_alone(doctor: Practice) -> None:
    plain = replace(doctor, words=WordTokenizer())  # a start is one token there
    found = await plain.examine("chat_cfm", ["double_bos"], known=False)
    assert found.odd["start"] == "the prompt was read with token 0 twice at its start"


SHUT = TEMPLATE.replace("<think>\\n", "")
"""A chat template that leaves the opening of the block to the model, as Qwen3's does."""


def opening(prompt: str) -> Sequence[str]:
    """Script a model that opens its block by itself where nobody has."""
    tag = "<think>\n" if prompt.endswith("<|assistant|>\n") else ""
    return [tag + answer for answer in attentive(prompt)]


@pytest.mark.parametrize(
    ("name", "traits", "came"),
    [
        ("chat_cfm", [], "no extra tokens"),
        ("chat_cfm", ["empty_think"], "an empty block"),
        ("chat_cfm_after_gen", [], "the think block is not opened"),
    ],
)
async def test_a_block_that_the_model_opens_itself_is_open_once(
    doctor: Practice, name: DialectName, traits: list[Trait], came: str
) -> None:
    found = await doctor.examine(name, traits, opening, known=False, template=SHUT)
    (tags,) = (each for each in found.profile.findings if each.probe == "tags")
    assert came in tags.came
    assert (tags.verdict == "broken") == (came != "no extra tokens")


@pytest.mark.parametrize(("name", "verdict"), [("ids", "ok"), ("chat_cfm", "broken")])
async def test_a_tag_in_the_answer_is_the_models_where_the_close_is_known_to_be_read(
    doctor: Practice, name: DialectName, verdict: str
) -> None:
    found = await doctor.examine(name, script="It is 5.</think>It is 5.", known=name == "ids")
    (closing,) = (each for each in found.profile.findings if each.probe == "closing")
    assert closing.verdict == verdict
    assert "</think>" in closing.came


async def test_who_only_answers_must_answer(doctor: Practice) -> None:
    found = await doctor.examine("none", ["wrong_field"], api="vllm", known=False)
    assert found.odd["closing"] == "no answer"
    tagged = await doctor.examine("none", api="vllm", known=False)
    assert "</think> is in the answer" in tagged.odd["closing"]
    long = await doctor.examine("none", script="So on and on. " * 200, known=False)
    (closing,) = (each for each in long.profile.findings if each.probe == "closing")
    assert (closing.verdict, closing.came) == (
        "untried",
        "no answer: all 400 tokens went into thinking",
    )


async def test_a_stop_in_thinking_that_nobody_sees_is_told(doctor: Practice) -> None:
    script = "So the answer is 7, it is.</think>So the answer is 7, it is."
    found = await doctor.examine("none", script=script, known=False)
    assert found.odd["stop"] == "stopped in hidden thinking: units are cut by collab"
    assert found.profile.max_stops == 0


async def test_texts_that_are_all_alike_show_nothing_of_seeds(doctor: Practice) -> None:
    found = await doctor.examine("ids", script="So it is.</think>7")
    verdicts = {each.probe: each.verdict for each in found.profile.findings}
    assert verdicts["seed"] == "untried"
    hidden = await doctor.examine("none", script="So it goes on and", known=False)
    verdicts = {each.probe: each.verdict for each in hidden.profile.findings}
    assert (verdicts["temperature"], verdicts["seed"]) == ("untried", "untried")


async def test_a_weak_model_passes_where_the_server_says_what_it_read(doctor: Practice) -> None:
    found = await doctor.examine("chat_cfm", script="Hm, let me see. So we add one. Then we stop.")
    assert found.odd == {}
    (carried,) = (each for each in found.profile.findings if each.probe == "carry-over")
    assert "another word, but the thought was read, checked token by token" in carried.came


async def test_a_weak_model_of_which_nothing_is_known_goes_on_with_its_own_text(
    doctor: Practice,
) -> None:
    script = recite("Hm, let me see. So we add one and one. Then we stop there, and that is it.")
    found = await doctor.examine("deepseek_prefix", script=script, known=False)
    (carried,) = (each for each in found.profile.findings if each.probe == "carry-over")
    assert carried.came.endswith("another word, but it continues half of its own text")
    dropped = await doctor.examine("deepseek_prefix", ["continue_ignored"], script, known=False)
    assert "it does not continue the thought" in dropped.odd["carry-over"]


async def test_findings_are_told_as_they_come(doctor: Practice) -> None:
    heard: list[str] = []
    found = await doctor.examine("ids", tell=lambda finding: heard.append(finding.probe))
    assert heard == [each.probe for each in found.profile.findings]
    assert heard[0] == "model"


async def test_a_profile_is_read_as_it_was_written(doctor: Practice, tmp_path: Path) -> None:
    found = await doctor.examine("chat_cfm", ["parser"])
    path = tmp_path / "profiles" / "one.json"
    assert Profile.load(path) is None
    found.profile.save(path)
    assert Profile.load(path) == found.profile
    path.write_text("{}{")
    with pytest.raises(ConfigError, match="run collab doctor"):
        Profile.load(path)


async def test_no_server_and_no_route_are_errors_and_no_findings(doctor: Practice) -> None:
    lacking: list[tuple[DialectName, Trait]] = [("text", "no_completions"), ("chat_cfm", "no_chat")]
    for name, trait in lacking:
        with pytest.raises(Denied, match="404"):
            await doctor.examine(name, [trait])
    async with Endpoint("http://127.0.0.1:9", "m", limits=Limits(retries=0)) as end:
        end.profile = Profile(dialect="none")
        with pytest.raises(Unreachable):
            await Doctor(end, None, lambda known: choose(known, None, None, *TAGS), TAGS).examine()
