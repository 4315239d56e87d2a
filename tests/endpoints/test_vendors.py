"""Begun turns, as each server wants them and as its imitation understands them."""

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from collab.core.sampling import Generation, OpenTurn, Request, Sampling
from collab.core.trajectory import Message, Phase, Trajectory, Unit, Wrote
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect, Frame
from collab.endpoints.profile import DialectName, Profile
from collab.endpoints.registry import CHATS, choose
from collab.endpoints.scripted import TEMPLATE, Api, Script, ScriptedServer, Trait, recite
from collab.errors import BadReply, ConfigError, Rejected
from collab.templates.template import Template

THINKING, ANSWER = "We add. We double.", "\n\n12, of course."
SCRIPT = recite(THINKING + "</think>" + ANSWER)
ASKED = (Message("user", "How much?"),)
HOMES: dict[DialectName, Api] = {
    "text": "vllm",
    "ollama": "ollama",
    "chat_cfm": "vllm",
    "chat_cfm_after_gen": "sglang",
    "reasoning_field": "llamacpp",
    "deepseek_prefix": "deepseek",
    "mistral_prefix": "mistral",
    "partial": "kimi",
    "none": "openai",
}
CONTINUE = tuple(name for name in HOMES if name not in ("mistral_prefix", "partial", "none"))
ECHO: dict[str, Any] = {"mistral_prefix": {"echoes": True}}
Sent = dict[str, Any]  # JSON


def log(thinking: str, said: str | None = None) -> Trajectory:
    units = [Unit("guide", thinking, "inserted")] if thinking else []
    if said:
        units.append(Unit("main", said, "generated", phase="answer"))
    return Trajectory.replay([Wrote(unit) for unit in units])


def dialect_of(name: DialectName, **known: Any) -> Dialect:
    profile = Profile(dialect=name, **{**ECHO.get(name, {}), **known})
    return choose(profile, Frame(Template(TEMPLATE)), None, "<think>\n", "</think>")


async def drawn(
    name: DialectName,
    trajectory: Trajectory,
    phase: Phase,
    *,
    traits: Sequence[Trait] = (),
    stop: tuple[str, ...] = (),
    logprobs: int | None = None,
    script: Script = SCRIPT,
    **known: Any,
) -> tuple[Generation, Sent]:
    """Draw once from the server that the dialect is made for, and return what was sent too."""
    dialect, api = dialect_of(name, **known), HOMES[name]
    async with ScriptedServer(script, api=api, traits=traits) as at:
        url = at.url + ("/beta" if api == "deepseek" else "")
        profile = Profile(max_model_len=4096)
        async with Endpoint(url, "scripted", form=dialect.form, profile=profile) as endpoint:
            prompt = dialect.prompt(ASKED, trajectory, phase, "main").prompt
            request = Request("m", prompt, Sampling(), 50, stop, logprobs)
            (draw,) = await endpoint.complete(request, range(1), seed=0)
    return draw, at.generating[-1].body


@pytest.mark.parametrize("name", CONTINUE)
@pytest.mark.parametrize("cut", [0, 7, 10])
async def test_a_thought_goes_on_where_it_ends(name: DialectName, cut: int) -> None:
    draw, _ = await drawn(name, log(THINKING[:cut]), "thinking")
    assert draw.text == THINKING[cut:] + "</think>" + ANSWER


@pytest.mark.parametrize("name", HOMES)
async def test_a_closed_thought_is_answered(name: DialectName) -> None:
    draw, _ = await drawn(name, log(THINKING), "answer")
    assert draw.text.strip() == ANSWER.strip()


@pytest.mark.parametrize("name", [name for name in HOMES if name != "none"])
async def test_an_answer_goes_on_where_it_ends(name: DialectName) -> None:
    bare = name in ("mistral_prefix", "partial")
    script = recite(ANSWER) if bare else SCRIPT
    draw, _ = await drawn(name, log("" if bare else THINKING, ANSWER[:6]), "answer", script=script)
    assert draw.text == ANSWER[6:]


@pytest.mark.parametrize("name", ["mistral_prefix", "partial"])
async def test_a_thought_goes_on_where_a_doctor_has_found_that_it_does(name: DialectName) -> None:
    draw, _ = await drawn(name, log(THINKING[:7]), "thinking", can_write_thinking=True)
    assert draw.text == THINKING[7:] + "</think>" + ANSWER


@pytest.mark.parametrize("name", ["mistral_prefix", "partial", "none"])
def test_a_thought_is_not_continued_where_no_document_says_so(name: DialectName) -> None:
    with pytest.raises(ConfigError, match=rf"'main' cannot write thinking: its dialect '{name}'"):
        dialect_of(name).prompt(ASKED, log("So"), "thinking", "main")


@pytest.mark.parametrize("name", CHATS)
async def test_thinking_begins_with_the_question_alone(name: DialectName) -> None:
    draw, sent = await drawn(name, Trajectory(), "thinking")
    assert draw.text == ("" if name == "none" else THINKING) + "</think>" + ANSWER
    begun = sent["messages"][1:]
    assert begun == ([{"role": "assistant", "content": "<think>\n"}] if name == "chat_cfm" else [])


TURNS: list[tuple[DialectName, Sent, Sent]] = [
    (
        "chat_cfm",
        {"content": "<think>\nWe add."},
        {"continue_final_message": True, "add_generation_prompt": False},
    ),
    (
        "chat_cfm_after_gen",
        {"content": "We add."},
        {"continue_final_message": True, "separate_reasoning": False},
    ),
    ("reasoning_field", {"content": "", "reasoning_content": "We add."}, {}),
    ("deepseek_prefix", {"content": "", "reasoning_content": "We add.", "prefix": True}, {}),
]


@pytest.mark.parametrize(("name", "turn", "flags"), TURNS)
async def test_each_server_is_sent_a_begun_turn_in_its_own_way(
    name: DialectName, turn: Sent, flags: Sent
) -> None:
    _, sent = await drawn(name, log("We add."), "thinking")
    assert sent["messages"][-1] == {"role": "assistant", **turn}
    assert sent.items() >= flags.items()


async def test_sglang_opens_the_block_itself_where_the_template_does_not() -> None:
    closed = Template("{{ messages[0].content }}{% if add_generation_prompt %}A:{% endif %}")
    dialect = choose(
        Profile(dialect="chat_cfm_after_gen"), Frame(closed), None, "<think>\n", "</think>"
    )
    turn = dialect.prompt(ASKED, log("We add."), "thinking", "main").prompt
    assert isinstance(turn, OpenTurn)
    assert turn.rendered == "How much?A:<think>\nWe add."
    assert CHATS["chat_cfm_after_gen"](Frame(closed)).open_turn(turn) == {
        "content": "<think>\nWe add."
    }


async def test_vendors_are_sent_openais_own_fields_alone() -> None:
    _, sent = await drawn("deepseek_prefix", log("We add."), "thinking", stop=("\n\n",))
    assert sent.keys() == {
        *("model", "messages", "seed", "stop", "max_tokens"),
        *("temperature", "top_p", "presence_penalty", "frequency_penalty"),
    }
    _, sent = await drawn("none", Trajectory(), "thinking")
    assert "max_completion_tokens" in sent
    assert "max_tokens" not in sent


@pytest.mark.parametrize("name", ["reasoning_field", "deepseek_prefix", "chat_cfm_after_gen"])
async def test_the_likeliest_tokens_come_through_a_chat(name: DialectName) -> None:
    draw, _ = await drawn(name, log("We add."), "thinking", logprobs=3)
    assert draw.logprobs is not None
    assert draw.logprobs.entropies


@pytest.mark.parametrize(
    ("name", "trait"),
    [("chat_cfm", "wrong_field"), ("chat_cfm", "parser"), ("chat_cfm_after_gen", "wrong_field")],
)
async def test_a_thought_in_the_field_of_another_is_no_reply(
    name: DialectName, trait: Trait
) -> None:
    with pytest.raises(BadReply, match="collab doctor"):
        await drawn(name, log("We add."), "thinking", traits=[trait])


async def test_a_reply_is_read_where_a_doctor_has_found_it() -> None:
    draw, _ = await drawn(
        "chat_cfm", log("We add."), "thinking", traits=["parser"], thought_in="reasoning"
    )
    assert draw.text == " We double.</think>" + ANSWER


async def test_an_answer_in_the_field_of_the_thinking_is_no_reply() -> None:
    with pytest.raises(BadReply, match="as reasoning, but the request"):
        await drawn("deepseek_prefix", log(THINKING), "answer", traits=["parser_mislabels"])


async def test_a_reply_that_should_repeat_its_begin_and_does_not_is_none() -> None:
    with pytest.raises(BadReply, match=r"should begin with the prefix 'We add\.'"):
        await drawn("deepseek_prefix", log("We add."), "thinking", echoes=True)


async def test_a_repeated_begin_is_taken_off() -> None:
    traits: list[Trait] = ["prefix_echoed", "no_token_ids"]
    draw, _ = await drawn("chat_cfm", log("We add."), "thinking", traits=traits, echoes=True)
    assert draw.text == " We double.</think>" + ANSWER


async def test_deepseek_takes_a_prefix_on_its_beta_route_alone() -> None:
    dialect = dialect_of("deepseek_prefix")
    async with (
        ScriptedServer(api="deepseek") as server,
        Endpoint(server.url, "scripted", form=dialect.form) as endpoint,
    ):
        prompt = dialect.prompt(ASKED, log("So"), "thinking", "main").prompt
        with pytest.raises(Rejected, match=r"with base_url .*/beta"):
            await endpoint.complete(Request("m", prompt, Sampling(), 9), range(1), seed=0)


async def test_a_field_that_an_api_does_not_know_is_refused_by_name() -> None:
    body = {"messages": [{"role": "user", "content": "Q"}], "top_k": 3}
    async with (
        ScriptedServer(api="openai") as server,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        reply = await client.post(f"{server.url}/v1/chat/completions", json=body)
    assert reply.status_code == 400
    assert "top_k" in reply.json()["error"]["message"]


async def test_sglang_makes_a_users_turn_of_one_that_is_not_continued() -> None:
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "So"}]
    heard: list[str] = []

    def listen(prompt: str) -> str:
        heard.append(prompt)
        return "x"

    async with (
        ScriptedServer(listen, api="sglang") as server,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        await client.post(f"{server.url}/v1/chat/completions", json={"messages": messages})
    assert heard == ["<|user|>\nQ</s>\n<|user|>\nSo</s>\n<|assistant|>\n<think>\n"]


async def test_a_model_that_opens_the_block_in_its_content_has_thought_in_it() -> None:
    said = {"role": "assistant", "content": "<think>\nHm.</think>12"}
    body = {"choices": [{"message": said, "finish_reason": "stop"}]}
    dialect = CHATS["none"]()
    request = Request("m", OpenTurn("none", ASKED), Sampling(), 9)
    completion = dialect.parse("http://x", json.dumps(body).encode(), request)
    assert completion.choices[0].text == "Hm.</think>12"


def test_a_turn_goes_on_with_what_was_written() -> None:
    turn = OpenTurn("none", ASKED, "We", rendered="Q:We")
    assert turn + " add." == OpenTurn("none", ASKED, "We add.")
    assert (turn + " add.").rendered == "Q:We add."
    closed = turn + " add.</think>1"
    assert (closed.thought, closed.said) == ("We add.", "1")
    assert (closed + "2").said == "12"
