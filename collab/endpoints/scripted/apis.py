"""The APIs of other servers: how they read an open turn, and the fields of their replies.

Requests and replies of vLLM's API pass unchanged. Each other API is a small class that turns a
request into one raw prompt, and the draws into its own fields.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from collab.endpoints.scripted.traits import EMPTY, SUMMARY, ScriptedBody, Trait
from collab.serving import WireError

Api = Literal["vllm", "sglang", "llamacpp", "ollama", "deepseek", "mistral", "kimi", "openai"]
"""Whose API a server speaks."""
CLOSE = "</think>"
SAMPLING = ("temperature", "top_p", "top_k", "min_p")
PENALTIES = {"presence_penalty": 0, "frequency_penalty": 0, "repetition_penalty": 1}
PLAIN = frozenset(
    {
        *("model", "messages", "n", "seed", "stop", "max_tokens", "logprobs", "top_logprobs"),
        *("temperature", "top_p", "presence_penalty", "frequency_penalty"),
    }
)
"""The fields of OpenAI's own API, as far as they are used here."""


@dataclass(frozen=True, slots=True)
class ScriptedRequest:
    """A request as the scripted server reads it."""

    settings: ScriptedBody
    """How to draw, in the fields of /v1/completions."""
    prompt: str | list[int] | None = None
    """A raw prompt; else there are turns."""
    turns: Sequence[ScriptedBody] = ()
    thought: str = ""
    """The text of the open think block."""
    said: str | None = None
    """The text after the block; None while it is open."""

    @property
    def begins(self) -> bool:
        """Whether the request has an open turn of the model."""
        return bool(self.thought) or self.said is not None

    def laid(
        self, render: Callable[[Sequence[ScriptedBody]], str], traits: Collection[Trait]
    ) -> str:
        """Write the prompt of a chat; `render` opens the think block."""
        turns, thought, said = list(self.turns), self.thought, self.said
        if "prefix_dropped" in traits:
            thought, said = "", None
        if "continue_ignored" in traits and self.begins:
            whole = thought + (CLOSE + said if said is not None else "")
            turns.append({"role": "assistant", "content": whole})
            thought, said = "", None
        if "thinking_dropped" in traits:
            thought = ""
        begun = bool(thought) or said is not None
        before = ""
        if begun and "empty_think" in traits:
            before += EMPTY.removeprefix("<think>\n") + "<think>\n"
        if begun and "double_think" in traits:
            before += "<think>\n"
        behind = thought + (CLOSE + said if said is not None else "")
        return render(turns) + before + behind


@dataclass(frozen=True, slots=True)
class Draws:
    """The draws of a request."""

    model: str
    choices: Sequence[ScriptedBody]
    """As /v1/completions tells them."""
    usage: ScriptedBody
    count: Callable[[str], int]
    """Counts tokens."""
    traits: Collection[Trait] = field(default=frozenset())


class Vendor(Protocol):
    """One API."""

    @property
    def routes(self) -> frozenset[str]:
        """Where it differs from the wire."""
        ...

    def hear(self, body: ScriptedBody) -> ScriptedRequest:
        """Read a request.

        Raises:
            WireError: This API would refuse it.
        """
        ...

    def render(self, heard: ScriptedRequest, draws: Draws) -> object:
        """Write the reply."""
        ...


class ScriptedSglang:
    """POST /generate."""

    routes: ClassVar[frozenset[str]] = frozenset({"/generate"})

    def hear(self, body: ScriptedBody) -> ScriptedRequest:
        """Read text or ids."""
        given = body["sampling_params"]
        settings = {name: given[name] for name in (*SAMPLING, "stop", "n") if name in given}
        settings |= {"seed": given.get("sampling_seed"), "max_tokens": given["max_new_tokens"]}
        settings["include_stop_str_in_output"] = given.get("no_stop_trim", False)
        return ScriptedRequest(settings, body.get("input_ids", body.get("text")))

    def render(self, heard: ScriptedRequest, draws: Draws) -> object:
        """Write one draw as an object, several as a list."""
        told = [
            {
                "text": choice["text"],
                **({} if "no_token_ids" in draws.traits else {"output_ids": choice["token_ids"]}),
                "meta_info": {
                    "id": "0",
                    "prompt_tokens": draws.usage["prompt_tokens"],
                    "completion_tokens": len(choice["token_ids"]),
                    "cached_tokens": 0,
                    "finish_reason": {
                        "type": choice["finish_reason"],
                        "matched": choice["stop_reason"] or 1,
                    },
                },
            }
            for choice in draws.choices
        ]
        return told if len(told) > 1 else told[0]


class ScriptedLlama:
    """POST /completion."""

    routes: ClassVar[frozenset[str]] = frozenset({"/completion"})

    def hear(self, body: ScriptedBody) -> ScriptedRequest:
        """Read text or ids; the stop string is always cut off."""
        settings = {name: body[name] for name in (*SAMPLING, "stop", "seed") if name in body}
        settings |= {"top_k": body.get("top_k") or -1, "max_tokens": body["n_predict"]}
        return ScriptedRequest(settings, body["prompt"])

    def render(self, heard: ScriptedRequest, draws: Draws) -> object:
        """Write the one draw."""
        choice = draws.choices[0]
        word = choice["stop_reason"]
        ended = "limit" if choice["finish_reason"] == "length" else "word" if word else "eos"
        return {
            "model": draws.model,
            "content": choice["text"],
            "tokens": [] if "no_token_ids" in draws.traits else choice["token_ids"],
            "stop": True,
            "stop_type": ended,
            "stopping_word": word or "",
            "tokens_evaluated": draws.usage["prompt_tokens"],
            "tokens_predicted": draws.usage["completion_tokens"],
        }


class ScriptedOllama:
    """POST /api/generate, raw."""

    routes: ClassVar[frozenset[str]] = frozenset({"/api/generate"})

    def hear(self, body: ScriptedBody) -> ScriptedRequest:
        """Read text; the stop string is always cut off."""
        if not body.get("raw") or body.get("stream", True):
            raise WireError("only raw prompts without a stream are served here")
        given = body["options"]
        settings = {name: given[name] for name in (*SAMPLING, "stop", "seed") if name in given}
        settings |= {"top_k": given.get("top_k") or -1, "max_tokens": given["num_predict"]}
        return ScriptedRequest(settings, body["prompt"])

    def render(self, heard: ScriptedRequest, draws: Draws) -> object:
        """Render the one draw, without the stop string that ended it."""
        counts = {
            "prompt_eval_count": draws.usage["prompt_tokens"],
            "eval_count": draws.usage["completion_tokens"],
        }
        return {
            "model": draws.model,
            "response": draws.choices[0]["text"],
            "done": True,
            "done_reason": draws.choices[0]["finish_reason"],
            **({} if "no_usage" in draws.traits else counts),
        }


class ChatApi:
    """A vendor's chat: thinking and answer in fields of their own."""

    routes: ClassVar[frozenset[str]] = frozenset({"/v1/chat/completions"})
    fields: ClassVar[frozenset[str]] = PLAIN
    """The allowed request fields; any other is refused by name."""
    echoes: ClassVar[bool] = False
    """Whether the reply repeats the text of the open turn."""
    hides: ClassVar[bool] = False
    """Whether thinking stays with the server."""

    def hear(self, body: ScriptedBody) -> ScriptedRequest:
        """Read the turns, and the open part of the last one."""
        for name in body.keys() - self.fields:
            raise WireError(f"Unrecognized request argument supplied: {name}", param=name)
        for name, nothing in PENALTIES.items():
            if body.get(name, nothing) != nothing:
                raise WireError(f"{name} is not supported here", param=name)
        settings = {n: body[n] for n in (*SAMPLING, "stop", "seed", "n") if n in body}
        settings["max_tokens"] = body.get("max_completion_tokens", body.get("max_tokens"))
        if body.get("logprobs"):
            settings["logprobs"] = body.get("top_logprobs", 0)
        *before, last = body["messages"]
        begun = self.begun(last, body) if last["role"] == "assistant" else None
        if begun is None:
            return ScriptedRequest(settings, turns=[*before, last])
        return ScriptedRequest(settings, turns=before, thought=begun[0], said=begun[1])

    def begun(self, last: ScriptedBody, body: ScriptedBody) -> tuple[str, str | None] | None:
        """Return thought and answer of an open turn; None if the last turn is closed."""
        return None

    def render(self, heard: ScriptedRequest, draws: Draws) -> object:
        """Write the choices."""
        told = [
            self._choice(index, choice, heard, draws) for index, choice in enumerate(draws.choices)
        ]
        thoughts = sum(draws.count(self.parts(heard, choice)[0]) for choice in draws.choices)
        usage = {**draws.usage, "completion_tokens_details": {"reasoning_tokens": thoughts}}
        return {"object": "chat.completion", "model": draws.model, "choices": told, "usage": usage}

    def message(self, thought: str, answer: str) -> ScriptedBody:
        """Write thinking and answer into the fields of this API."""
        return {"content": answer, "reasoning_content": thought or None}

    def parts(self, heard: ScriptedRequest, choice: ScriptedBody) -> tuple[str, str]:
        """Split a text into thinking and answer."""
        if heard.said is not None:
            return "", choice["text"]
        thought, _, answer = choice["text"].partition(CLOSE)
        return thought, answer

    def _choice(
        self, index: int, choice: ScriptedBody, heard: ScriptedRequest, draws: Draws
    ) -> ScriptedBody:
        thought, answer = self.parts(heard, choice)
        if self.echoes or "prefix_echoed" in draws.traits:
            thought = heard.thought + thought if heard.said is None else thought
            answer = (heard.said or "") + answer
        if "parser_mislabels" in draws.traits and heard.said is not None:
            thought, answer = answer, thought
        if "wrong_field" in draws.traits:
            thought, answer = answer, thought
        if "summary" in draws.traits and thought:
            thought = SUMMARY
        elif self.hides or "thinking_hidden" in draws.traits:
            thought = ""
        return {
            "index": index,
            "message": {"role": "assistant", **self.message(thought, answer)},
            "finish_reason": choice["finish_reason"],
            "logprobs": _likeliest(choice["logprobs"]),
        }


def _likeliest(found: ScriptedBody | None) -> ScriptedBody | None:
    """Write log-probabilities as a chat does."""
    if found is None:
        return None
    tops = [[{"token": t, "logprob": p} for t, p in top.items()] for top in found["top_logprobs"]]
    return {"content": [{"top_logprobs": top} for top in tops]}


class DeepSeek(ChatApi):
    """A prefix is only taken on /beta."""

    routes: ClassVar[frozenset[str]] = frozenset({"/beta/chat/completions"})

    def begun(self, last: ScriptedBody, body: ScriptedBody) -> tuple[str, str | None] | None:
        """Read the prefix; a content says that the thinking is over."""
        if not last.get("prefix"):
            return None
        return last.get("reasoning_content") or "", last["content"] or None


class DeepSeekPlain(DeepSeek):
    """Together with it, a prefix is an error."""

    routes: ClassVar[frozenset[str]] = frozenset({"/v1/chat/completions"})

    def begun(self, last: ScriptedBody, body: ScriptedBody) -> tuple[str, str | None] | None:
        """Refuse a prefix.

        Raises:
            WireError: There is one.
        """
        if last.get("prefix"):
            raise WireError("prefix is only supported with base_url .../beta", param="prefix")
        return None


class Kimi(ChatApi):
    """A partial message; its thinking is heeded as its answer is."""

    def begun(self, last: ScriptedBody, body: ScriptedBody) -> tuple[str, str | None] | None:
        """Read the partial message."""
        if not last.get("partial"):
            return None
        return last.get("reasoning_content") or "", last["content"] or None


class Mistral(ChatApi):
    """A prefix, which the reply repeats; thinking is a part of the content."""

    echoes: ClassVar[bool] = True

    def begun(self, last: ScriptedBody, body: ScriptedBody) -> tuple[str, str | None] | None:
        """Read the prefix: a text, or a list of parts."""
        if not last.get("prefix"):
            return None
        if isinstance(last["content"], str):
            return "", last["content"]
        thought, said = "", None
        for part in last["content"]:
            if part["type"] == "thinking":
                thought = "".join(piece["text"] for piece in part["thinking"])
                said = "" if part["closed"] else None
            else:
                said = part["text"]
        return thought, said

    def message(self, thought: str, answer: str) -> ScriptedBody:
        """Write the thinking as a part."""
        if not thought:
            return {"content": answer}
        part = {"type": "thinking", "thinking": [{"type": "text", "text": thought}]}
        return {"content": [part, {"type": "text", "text": answer}]}


class OpenAi(ChatApi):
    """No turn is ever continued, and thinking stays with the server."""

    fields: ClassVar[frozenset[str]] = PLAIN - {"max_tokens"} | {"max_completion_tokens"}
    hides: ClassVar[bool] = True


class EngineChat(ChatApi):
    """A chat of an engine that takes more fields than OpenAI's."""

    fields: ClassVar[frozenset[str]] = PLAIN | {
        *("top_k", "min_p", "repetition_penalty", "return_token_ids"),
        *("continue_final_message", "add_generation_prompt", "include_stop_str_in_output"),
        *("separate_reasoning", "no_stop_trim"),
    }


class LlamaChat(EngineChat):
    """llama.cpp: an open thought has a field of its own, and the reply repeats it."""

    echoes: ClassVar[bool] = True

    def begun(self, last: ScriptedBody, body: ScriptedBody) -> tuple[str, str | None] | None:
        """Read the field; content without a thought follows an empty block."""
        return last.get("reasoning_content") or "", last["content"] or None


class SglangChat(EngineChat):
    """SGLang: open content follows the generation prompt; otherwise the turn is a user's."""

    def hear(self, body: ScriptedBody) -> ScriptedRequest:
        """Read the open content unchanged, and keep the stop string if requested."""
        last = body["messages"][-1]
        if last["role"] == "assistant" and not body.get("continue_final_message"):
            body = {**body, "messages": [*body["messages"][:-1], {**last, "role": "user"}]}
        heard = super().hear(body)
        heard.settings["include_stop_str_in_output"] = body.get("no_stop_trim", False)
        return heard

    def begun(self, last: ScriptedBody, body: ScriptedBody) -> tuple[str, str | None] | None:
        """Split the content at its close tag."""
        thought, close, said = last["content"].partition(CLOSE)
        return thought, said if close else None

    def parts(self, heard: ScriptedRequest, choice: ScriptedBody) -> tuple[str, str]:
        """Leave it all in the content: no parser is asked for."""
        return "", choice["text"]


VENDORS: Mapping[Api, tuple[Vendor, ...]] = {
    "vllm": (),
    "sglang": (ScriptedSglang(), SglangChat()),
    "llamacpp": (ScriptedLlama(), LlamaChat()),
    "ollama": (ScriptedOllama(),),
    "deepseek": (DeepSeek(), DeepSeekPlain()),
    "mistral": (Mistral(),),
    "kimi": (Kimi(),),
    "openai": (OpenAi(),),
}


def vendor_of(api: Api, path: str) -> Vendor | None:
    """Return who serves a route, None where the wire does."""
    return next((vendor for vendor in VENDORS[api] if path in vendor.routes), None)
