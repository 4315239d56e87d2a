"""Thoughts continued through a chat API: a turn is begun, and the server told to go on with it.

How a turn is begun differs from server to server, and so does where a thought comes back; each
convention is one small class in `vendors.py`. What all share is here: one conversation, one begun
turn, one text as the model wrote it, thinking, close tag and answer in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from collab.core.sampling import OpenTurn, Request
from collab.core.trajectory import Json, Message, Phase, Seams, Trajectory
from collab.endpoints import reply
from collab.endpoints.dialects import Frame, PromptLayout, text_of, visible
from collab.endpoints.profile import Field
from collab.endpoints.reply import ChatChoice, ChatLogprobs, Choice, Completion, ReplyLogprobs
from collab.endpoints.request_format import Body, EndpointRequest
from collab.errors import BadReply, ConfigError

GAP = "\n\n"
"""Begins an answer where only a content that is not empty says that the thinking is over."""
SHOWN = "Thinking so far:\n{thinking}\n\nGive the final answer."
"""How the thinking is put to a model that answers but cannot continue it."""
NEUTRAL: Mapping[str, Json] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Fields outside OpenAI's API, left out for vendors at the values that do nothing."""


class ChatDialect:
    """One convention for a begun turn; subclasses say which.

    Args:
        frame: The chat template, where it is known: what the server reads is then checked.
        think_open: Opens the think block.
        think_close: Closes it.
        continues: Whether a thought is continued; the convention's documented word where None.
        thought_in: The field a continued thought comes back in; likewise.
        echoes: Whether the reply begins with what was sent; likewise.
    """

    name: ClassVar[str]
    streams: ClassVar[bool] = False
    flags: ClassVar[Mapping[str, Json]] = {}
    """What tells the server to go on with the last turn."""
    always: ClassVar[Mapping[str, Json]] = {}
    """What every request says besides."""
    open_fields: ClassVar[bool] = True
    """Whether fields outside OpenAI's API may be sent."""
    limit: ClassVar[str] = "max_tokens"
    continues: bool = True
    thought_in: Field = "content"
    echoes: bool = False

    def __init__(
        self,
        frame: Frame | None = None,
        think_open: str = "<think>\n",
        think_close: str = "</think>",
        *,
        continues: bool | None = None,
        thought_in: Field | None = None,
        echoes: bool | None = None,
    ) -> None:
        self.frame = frame
        self.think_open, self.think_close = think_open, think_close
        self.close_ids: tuple[int, ...] = ()
        self.continues = self.continues if continues is None else continues
        self.thought_in = thought_in or self.thought_in
        self.echoes = self.echoes if echoes is None else echoes

    @property
    def form(self) -> ChatDialect:
        """The dialect itself: layout and fields are one convention."""
        return self

    def prompt(
        self, messages: Sequence[Message], trajectory: Trajectory, phase: Phase, seat: str
    ) -> PromptLayout:
        """Lay out the conversation and the turn that `seat`'s model goes on with.

        Raises:
            ConfigError: The thinking is to be continued, and this endpoint continues none.
        """
        thought = text_of(visible(trajectory.units, seat))
        said = text_of(visible(trajectory.reply, seat)) if phase == "answer" else None
        if thought and not self.continues:
            if said is None:
                raise ConfigError(
                    f"seat {seat!r} cannot continue a thought (dialect {self.name!r}): let it "
                    "advise or answer, or give the seat another model"
                )
            shown = Message("user", SHOWN.format(thinking=thought))
            messages, thought = (*messages, shown), ""
        turn = OpenTurn(self.name, tuple(messages), thought, said, self.think_close)
        return PromptLayout(self._rendered(turn), Seams(0, changed=None))

    def begun(self, turn: OpenTurn) -> Body | None:
        """Return the assistant's message, None where the model begins by itself."""
        raise NotImplementedError

    def renders(self, turn: OpenTurn) -> str | None:
        """Return what a template makes of it behind the open think tag, None if that is unsure."""
        return turn.thought if turn.said is None else None

    def _rendered(self, turn: OpenTurn) -> OpenTurn:
        behind = self.renders(turn)
        if self.frame is None or behind is None or not self.continues:
            return turn
        text = self.frame.head(turn.messages) + behind
        return OpenTurn(turn.dialect, turn.messages, turn.thought, turn.said, turn.close, text)

    def place(self, url: str) -> str:
        """Return the route of chats."""
        return f"{url}/chat/completions"

    def body(self, ask: EndpointRequest) -> Body:
        """Say how to draw, and what to go on with."""
        request = ask.request
        turn = _turn(request)
        spoken: list[Json] = [{"role": m.role, "content": m.content} for m in turn.messages]
        begun = self.begun(turn)
        body: Body = {
            **request.sampling.model_dump(),
            "model": ask.served,
            "messages": spoken if begun is None else [*spoken, {"role": "assistant", **begun}],
            "seed": ask.seed,
            self.limit: request.max_tokens,
            **({} if begun is None else self.flags),
            **self.always,
        }
        if self.open_fields:
            body |= {"n": ask.n, "stop": list(ask.stop), "return_token_ids": True}
            body |= {"include_stop_str_in_output": True}
        else:
            body = {k: v for k, v in body.items() if k not in NEUTRAL or v != NEUTRAL[k]}
            body |= {"n": ask.n} if ask.n > 1 else {}
            body |= {"stop": list(ask.stop)} if ask.stop else {}
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        return body

    def read(self, url: str, body: bytes, request: Request) -> Completion:
        """Put thinking and answer in a row, as the model wrote them.

        Raises:
            BadReply: It is no chat's reply, or a thought stands in another field than it should.
        """
        chat = reply.parse_reply(reply.ChatReply, url, body)
        turn = _turn(request)
        return Completion(
            model=chat.model,
            choices=[self._choice(choice, turn) for choice in chat.choices],
            usage=chat.usage,
            system_fingerprint=chat.system_fingerprint,
            prompt_token_ids=chat.prompt_token_ids,
        )

    def _choice(self, choice: ChatChoice, turn: OpenTurn) -> Choice:
        fields = choice.model_dump(exclude={"message", "logprobs"}, exclude_unset=True)
        text = self._text(choice.message, turn)
        return Choice(**fields, text=text, logprobs=_logprobs(choice.logprobs))

    def _text(self, said: reply.ReplyMessage, turn: OpenTurn) -> str:
        begun = self.begun(turn)
        if begun is None:
            return said.answer if turn.said is not None else self._unaided(said)
        if self.thought_in == "content" or turn.said is not None:
            if said.thought:
                raise BadReply(
                    f"the endpoint put {said.thought[:40]!r} into the field of its thinking, where "
                    "a begun content was to go on; start it without a reasoning parser, or run "
                    "collab doctor"
                )
            content = begun["content"]
            return self._new(said.answer, content if isinstance(content, str) else turn.said or "")
        thought = self._new(said.thought, turn.thought)
        return thought + turn.close + said.answer if said.answer else thought

    def _unaided(self, said: reply.ReplyMessage) -> str:
        """Return what a model wrote that began by itself."""
        tag, answer = self.think_open.strip(), said.answer.lstrip()
        if not said.thought and answer.startswith(tag):
            return answer[len(tag) :].removeprefix("\n")
        if not said.thought and self.thought_in == "content":
            return said.answer
        return said.thought + self.think_close + said.answer if said.answer else said.thought

    def _new(self, text: str, sent: str) -> str:
        """Take what was sent off a text that repeats it."""
        if not self.echoes:
            return text
        before, whole = sent.lstrip(), text.lstrip()
        if not whole.startswith(before):
            raise BadReply(
                f"the endpoint was to repeat what it goes on with, {sent[:40]!r}, and wrote "
                f"{text[:40]!r}; run collab doctor"
            )
        return whole[len(before) :]


def behind(said: str) -> str:
    """Return an answer so far as a content that is not empty."""
    return said if said.startswith("\n") else GAP + said


def _turn(request: Request) -> OpenTurn:
    if not isinstance(request.prompt, OpenTurn):
        raise TypeError(f"a chat takes a conversation, not {type(request.prompt).__name__}")
    return request.prompt


def _logprobs(found: ChatLogprobs | None) -> ReplyLogprobs | None:
    if found is None or found.content is None:
        return None
    tops = [{like.token: like.logprob for like in at.top_logprobs} for at in found.content]
    return ReplyLogprobs(top_logprobs=[*tops])
