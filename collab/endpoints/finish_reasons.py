"""The finish reasons of servers, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Ending = Literal["stop", "length", "refused", "again"]
"""What a finish reason means. `stop`: the text ended. `length`: it was cut at a limit. `refused`:
the API withheld it. `again`: the server gave up, so the draw is repeated."""
REASONS: Mapping[str, Ending] = {
    **dict.fromkeys(
        (
            *("stop", "eos", "eos_token", "eos_found", "end_turn", "end_of_turn", "end_of_text"),
            *("end", "eot", "eom", "stop_sequence", "stop_sequence_hit", "stop_str", "stop_string"),
            *("stop_token", "stop_word", "stopword", "word", "complete", "completed", "completion"),
            *("done", "finish", "finished", "success", "natural", "normal", "tool_calls"),
            *("tool_call", "tool_use", "function_call", "function_calls", "repetition", "matched"),
        ),
        "stop",
    ),
    **dict.fromkeys(
        (
            *("length", "max_tokens", "model_length", "max_length", "max_output_tokens"),
            *("max_completion_tokens", "max_new_tokens", "token_limit", "length_limit", "limit"),
            *("length_capped", "max_token", "context_length", "context_window", "incomplete"),
            *("context_length_exceeded", "context_window_exceeded", "max_context_length"),
            *("model_context_window_exceeded", "max_seq_len", "truncated", "budget_exceeded"),
        ),
        "length",
    ),
    **dict.fromkeys(
        (
            *("content_filter", "content_filtered", "content_filter_error", "refusal", "refused"),
            *("safety", "recitation", "prohibited_content", "blocklist", "spii", "blocked"),
            *("moderation", "flagged", "sensitive", "censored", "guardrail", "guardrails"),
            *("guardrail_intervened", "content_policy", "content_policy_violation", "violation"),
            *("policy_violation", "prompt_blocked", "unsafe", "error_toxic", "image_safety"),
        ),
        "refused",
    ),
    **dict.fromkeys(
        (
            *("abort", "aborted", "cancel", "cancelled", "canceled", "error", "errored", "failed"),
            *("failure", "server_error", "internal_error", "network_error", "timeout", "time_out"),
            *("timed_out", "interrupted", "preempted", "disconnect", "disconnected", "killed"),
            *("insufficient_system_resource", "overloaded", "engine_error", "load", "unload"),
            *("user_cancel", "unknown_error", "upstream_error", "model_error", "shutdown"),
        ),
        "again",
    ),
}
"""Endings by the server's word, in lower case with underscores."""


def ending_of(reason: str | None) -> Ending | None:
    """Return what a finish reason means; None if it is missing or unknown."""
    if reason is None:
        return None
    word = reason.strip().lower().replace("-", "_").replace(" ", "_")
    return REASONS.get(word.removeprefix("finish_reason_").removeprefix("finishreason."))
