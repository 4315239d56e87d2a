"""Continue a partial thought through a chat API: send an open assistant turn.

Servers differ in how they take an open turn and in the field where they return a thought. Each
convention is one small class in `vendors.py`. This module has what they share: the conversation,
the open turn, and the reply as one text (thinking, close tag, answer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from collab.core.sampling import OpenTurn, Request
from collab.core.trajectory import Json, Message, Phase, Seams, Trajectory
from collab.endpoints import reply
from collab.endpoints.dialects import Frame, PromptLayout, text_of, visible
from collab.endpoints.error_mapping import missing
from collab.endpoints.finish_reasons import ending_of
from collab.endpoints.message import ReplyMessage
from collab.endpoints.profile import Field
from collab.endpoints.reply import ChatChoice, ChatLogprobs, Choice, Completion, ReplyLogprobs
from collab.endpoints.request_format import Body, EndpointRequest, StreamFormat
from collab.errors import BadReply, ConfigError

GAP = "\n\n"
"""Begins an answer where only a content that is not empty says that the thinking is over."""
SHOWN = "Thinking so far:\n{thinking}\n\nGive the final answer."
"""How the thinking is put to a model that answers but cannot continue it."""
NEUTRAL: Mapping[str, Json] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Fields outside OpenAI's API; they are left out for vendors if they have no effect."""


class ChatDialect:
    """A convention for an open turn; each subclass is one.

    Args:
        frame: The chat template, if known; it is used to check what the server reads.
        think_open: Opens the think block.
        think_close: Closes it.
        continues: Whether the server continues a thought; None: as documented.
        thought_in: The field in which a continued thought is returned; None: as documented.
        echoes: Whether the reply repeats the text of the open turn; None: as documented.
    """

    name: ClassVar[str]
    stream: ClassVar[StreamFormat | None] = None
    flags: ClassVar[Mapping[str, Json]] = {}
    """The request fields that make the server continue the last turn."""
    always: ClassVar[Mapping[str, Json]] = {}
    """Further fields of every request."""
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
        """Render the conversation and the open turn that `seat`'s model continues.

        Raises:
            ConfigError: The prompt continues a thought, which this endpoint cannot do.
        """
        thought = text_of(visible(trajectory.units, seat))
        said = text_of(visible(trajectory.reply, seat)) if phase == "answer" else None
        if thought and not self.continues:
            if said is None:
                raise ConfigError(
                    f"seat {seat!r} cannot write thinking: its dialect {self.name!r} cannot "
                    "continue a partial thought; let the seat advise or answer, or give it "
                    "another model"
                )
            shown = Message("user", SHOWN.format(thinking=thought))
            messages, thought = (*messages, shown), ""
        turn = OpenTurn(self.name, tuple(messages), thought, said, self.think_close)
        return PromptLayout(self._rendered(turn), Seams(0, changed=None))

    def open_turn(self, turn: OpenTurn) -> Body | None:
        """Return the assistant's message, None where the model begins by itself."""
        raise NotImplementedError

    def renders(self, turn: OpenTurn) -> str | None:
        """Return the text that the template renders after the open think tag; None if unknown."""
        return turn.thought if turn.said is None else None

    def _rendered(self, turn: OpenTurn) -> OpenTurn:
        rendered = self.renders(turn)
        if self.frame is None or rendered is None or not self.continues:
            return turn
        text = self.frame.head(turn.messages) + rendered
        return OpenTurn(turn.dialect, turn.messages, turn.thought, turn.said, turn.close, text)

    def place(self, url: str) -> str:
        """Return the route of chats."""
        return f"{url}/chat/completions"

    def body(self, ask: EndpointRequest) -> Body:
        """Return the fields of the request: sampling, messages and the open turn."""
        request = ask.request
        turn = _turn(request)
        spoken: list[Json] = [{"role": m.role, "content": m.content} for m in turn.messages]
        opened = self.open_turn(turn)
        body: Body = {
            **request.sampling.model_dump(),
            "model": ask.served,
            "messages": spoken if opened is None else [*spoken, {"role": "assistant", **opened}],
            "seed": ask.seed,
            self.limit: request.max_tokens,
            **({} if opened is None else self.flags),
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

    def parse(self, url: str, body: bytes, request: Request) -> Completion:
        """Join thinking and answer into one text, as the model wrote them.

        Raises:
            BadReply: It is not a chat reply, or the thought is in an unexpected field.
        """
        chat = reply.parse_reply(reply.ChatReply, url, body)
        if not chat.choices:
            raise missing(url, body, "choices")
        if any(_is_empty(choice) for choice in chat.choices):
            raise missing(url, body, "text")
        turn = _turn(request)
        return Completion(
            model=chat.model,
            choices=[self._choice(choice, turn) for choice in chat.choices],
            usage=chat.usage,
            system_fingerprint=chat.system_fingerprint,
            prompt_token_ids=chat.prompt_token_ids,
        ).noting(chat.odd)

    def _choice(self, choice: ChatChoice, turn: OpenTurn) -> Choice:
        fields = choice.model_dump(exclude={"message", "logprobs"}, exclude_unset=True)
        message = choice.message or ReplyMessage()
        return Choice(
            **fields,
            text=self._text(message, turn),
            logprobs=_logprobs(choice.logprobs),
            refused=bool(message.refused),
        )

    def _text(self, message: ReplyMessage, turn: OpenTurn) -> str:
        opened = self.open_turn(turn)
        if opened is None:
            return message.answer if turn.said is not None else self._unaided(message)
        if self.thought_in == "content" or turn.said is not None:
            if message.thought:
                raise BadReply(
                    f"the endpoint returned {message.thought[:40]!r} as reasoning, but the request "
                    "continues the content; start the server without a reasoning parser, or run "
                    "collab doctor"
                )
            content = opened["content"]
            sent = content if isinstance(content, str) else turn.said or ""
            return self._new(message.answer, sent)
        thought = self._new(message.thought, turn.thought)
        return self._joined(thought, message.answer)

    def _unaided(self, message: ReplyMessage) -> str:
        """Return the text of a turn that was not opened by us."""
        tag, answer = self.think_open.strip(), message.answer.lstrip()
        if not message.thought and tag and answer.startswith(tag):
            return answer[len(tag) :].removeprefix("\n")
        if not message.thought and self.thought_in == "content":
            return message.answer
        return self._joined(message.thought, message.answer)

    def _joined(self, thought: str, answer: str) -> str:
        """Join thought and answer by one close tag, which the answer may already have.

        A server without a parser returns a rest of the thought, and its close tag, in the content.
        """
        close, tag = self.think_close, self.think_open.strip()
        rest, closed, after = answer.partition(close) if close else (answer, "", "")
        if not closed:
            return thought + close + answer if answer else thought
        opened = rest.lstrip().removeprefix(tag).lstrip() if tag else rest
        rest = opened if rest.lstrip().startswith(tag) else rest
        repeated = not rest.strip() or rest.strip() == thought.strip()
        return thought + ("" if thought and repeated else rest) + close + after

    def _new(self, text: str, sent: str) -> str:
        """Remove the prefix that was sent from a reply that repeats it."""
        if not self.echoes:
            return text
        before, whole = sent.lstrip(), text.lstrip()
        if not whole.startswith(before):
            raise BadReply(
                f"the reply should begin with the prefix {sent[:40]!r}, but begins with "
                f"{text[:40]!r}; run collab doctor"
            )
        return whole[len(before) :]


def after_gap(said: str) -> str:
    """Return an answer so far as a content that is not empty."""
    return said if said.startswith("\n") else GAP + said


def _turn(request: Request) -> OpenTurn:
    if not isinstance(request.prompt, OpenTurn):
        raise TypeError(f"a chat dialect takes an OpenTurn, not {type(request.prompt).__name__}")
    return request.prompt


def _logprobs(found: ChatLogprobs | None) -> ReplyLogprobs | None:
    if found is None or found.content is None:
        return None
    tops = [{like.token: like.logprob for like in at.top_logprobs} for at in found.content]
    return ReplyLogprobs(top_logprobs=[*tops])


def _is_empty(choice: ChatChoice) -> bool:
    """Return whether a choice has no text, although it was not cut before its first token."""
    cut = ending_of(choice.finish_reason) in ("length", "refused", "again")
    return not cut and (choice.message is None or choice.message.is_empty)
