"""The codes, statuses and wordings of API errors, as data.

All patterns are matched without regard to case. `error_kinds` decides which of them counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

ErrorKind = Literal[
    "rate limit", "quota", "overflow", "moderation", "denied", "refused", "transient", "unknown"
]
"""The kinds of errors. `rate limit`: wait and repeat. `quota`: the account is empty. `overflow`:
the prompt does not fit into the context. `moderation`: the server refuses this text. `denied`: it
would refuse any request. `refused`: it refuses this one. `transient`: repeat."""

CODES: Mapping[str, ErrorKind] = {
    **dict.fromkeys(
        (
            *(
                "context_length_exceeded",
                "context_window_exceeded",
                "model_context_window_exceeded",
            ),
            *("exceed_context_size_error", "context_length_error", "max_context_length_exceeded"),
            *("input_too_long", "prompt_too_long", "input_length_exceeded", "request_too_large"),
            *("string_above_max_length", "token_limit_exceeded", "tokens_limit_reached"),
        ),
        "overflow",
    ),
    **dict.fromkeys(
        (
            *("insufficient_quota", "insufficient_balance", "insufficient_credits"),
            *("insufficient_funds", "billing_hard_limit_reached", "billing_not_active"),
            *("billing_error", "exceeded_current_quota_error", "payment_required", "arrearage"),
            *("credit_limit_exceeded", "no_credits", "out_of_credits", "account_overdue"),
            *("accountoverdueerror", "allocationquota.freetieronly"),
        ),
        "quota",
    ),
    **dict.fromkeys(
        (
            *("rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "rate_limit"),
            *("rate_limited", "too_many_requests", "toomanyrequests", "throttling", "throttled"),
            *("throttlingexception", "throttling_error", "resource_exhausted", "limit_requests"),
            *("requests_limit_exceeded", "limit_burst_rate", "throttling.ratequota"),
            *("throttling.allocationquota", "concurrency_limit_exceeded"),
        ),
        "rate limit",
    ),
    **dict.fromkeys(
        (
            *("content_filter", "content_policy_violation", "moderation_blocked", "moderation"),
            *("responsibleaipolicyviolation", "data_inspection_failed", "datainspectionfailed"),
            *("content_blocked", "content_moderation", "prohibited_content", "safety"),
            *("sensitive_content", "sensitive_words_detected", "guardrail_intervened"),
            *("cyber_policy_violation", "content_violation", "unsafe_content"),
        ),
        "moderation",
    ),
    **dict.fromkeys(
        (
            *("invalid_api_key", "incorrect_api_key", "authentication_error", "unauthorized"),
            *("invalid_authentication_error", "permission_denied", "permission_error"),
            *("permission_denied_error", "forbidden", "access_denied", "accessdenied"),
            *("unauthenticated", "model_not_found", "not_found_error", "model_not_available"),
            *("account_deactivated", "unsupported_country_region_territory", "deactivated_account"),
        ),
        "denied",
    ),
    **dict.fromkeys(
        (
            *("server_error", "internal_server_error", "internal_error", "internalerror"),
            *("internal", "api_error", "overloaded_error", "overloaded", "unavailable"),
            *("engine_overloaded_error", "engine_overloaded", "service_unavailable", "timeout"),
            *("serviceunavailable", "service_unavailable_error", "timeout_error", "bad_gateway"),
            *("gateway_timeout", "deadline_exceeded", "request_timeout", "upstream_error"),
            *("model_overloaded", "server_overloaded", "capacity_exceeded", "aborted"),
            *("modelnotreadyexception", "internalservererror", "unavailable_error"),
        ),
        "transient",
    ),
}
"""Kinds by the code or type in the body, in lower case."""

STATUSES: Mapping[int, ErrorKind] = {
    **dict.fromkeys((408, 409, 425), "transient"),
    404: "denied",
    429: "rate limit",
    402: "quota",
    **dict.fromkeys((401, 403), "denied"),
    501: "refused",
}
"""Kinds by status, in addition to any other 5xx (transient) and 4xx (refused)."""

FIELD = (
    r"(?:un(?:supported|known|recogni[sz]ed|expected)|extra|deprecated) "
    r"(?:\w+ ){0,3}(?:field|param\w*|argument|input|key|option|propert\w+)s?\b(?! token)"
    r"|(?:field|param\w*|argument|option|propert\w+)s? .{0,60}"
    r"(?:not (?:supported|permitted|allowed|recogni[sz]ed)|unsupported)"
)
"""A refusal that names a request field, which may be spelled like any other error."""
RATE = (
    r"rate[ -]?limit|too many (?:concurrent )?requests|\b(?:tokens|requests|queries) per\b"
    r"|\b(?:TPM|RPM|TPD|RPD|QPS|QPM)\b|throttl|slow down|concurren\w+ (?:request )?limit"
    r"|(?:limit|quota) (?:of|for|on) (?:\w+ ){0,3}per (?:second|minute|hour|day)"
    r"|request(?:s)? (?:was|were|are) (?:sent|made) too (?:fast|quickly|frequently)"
)
"""Requests or tokens per time."""
QUOTA = (
    r"insufficient[_ ](?:\w+[_ ])?(?:quota|balance|credit|fund)|exceeded your current quota"
    r"|(?:credit|account) balance (?:is )?(?:too low|insufficient|not enough)"
    r"|(?:out of|no|not enough|more|run out of|exhausted) (?:\w+ ){0,3}(?:credits?|funds)\b"
    r"|payment required|billing|in arrears|overdue|spend(?:ing)? (?:limit|cap)|top[- ]?up|recharge"
    r"|quota (?:has been |is )?(?:exhausted|used up|exceeded)"
)
"""An empty account."""
MODERATION = (
    r"content[_ -](?:management )?(?:policy|filter|moderation|safety)|moderation"
    r"|inappropriate content|content exists risk|high risk|flagged|usage polic|safety "
    r"(?:system|polic|filter|guideline|reason)|violat\w+ .{0,40}(?:polic|guideline|terms)"
    r"|(?:prohibited|unsafe|sensitive|harmful) (?:content|information|words?|input|material)"
    r"|blocked by .{0,40}(?:filter|guardrail|polic|safety)|responsible ai"
)
"""A refused text."""
DENIED = (
    r"(?:incorrect|invalid|missing|expired|no|wrong|bad|disabled) (?:api|access|auth\w*)[ _-]?"
    r"(?:key|token)|unauthori[sz]ed|authentication (?:fails|failed|error|required)"
    r"|(?:the )?model .{0,80}(?:does not exist|not found|not exist|no access|is not available)"
    r"|no such model|model[_ ]not[_ ]found|do(?:es)? not have (?:access|permission)"
)
"""A wrong key or model."""
TRANSIENT = (
    r"overload|temporarily|try again|time[d ]?-?out|bad gateway|unavailable|upstream|capacity"
    r"|provider (?:returned|error)|internal (?:server )?error|server (?:error|is busy|busy)"
    r"|(?:still |is )loading|not ready|connection (?:reset|refused|closed|error)|"
    r"\b(?:dead|died|crash\w*)\b"
)
"""A server in trouble."""
_SIZE = r"[\[(`']*[\d,._]+[\])`']*"
OVERFLOWS: Mapping[str, str] = {
    "OpenAI, DeepSeek, vLLM": r"maximum context (?:length|window|size)(?: of| is)",
    "OpenAI responses": r"exceeds? (?:the|this|its|your) .{0,30}context (?:window|length|limit)",
    "OpenAI codes in messages": r"\bcontext_length_exceeded\b(?!_)",
    "OpenAI, one string": r"string too long\. expected a string with maximum length",
    "Anthropic": r"(?:prompt|input|request|message|conversation)s? (?:is|are|was) too "
    r"(?:long|large)",
    "Anthropic, output": r"input length and `?max_tokens`? exceed",
    "Bedrock": r"too many (?:input |prompt |total )?tokens",
    "Gemini": r"input token count .{0,40}exceeds",
    "Azure": r"(?:input|prompt|request) tokens exceed",
    "Kimi": r"exceed(?:s|ed)? .{0,30}(?:model )?token limit",
    "DashScope": r"range of input length should be",
    "DashScope, Qwen": r"input (?:text )?length .{0,40}(?:exceed|should be|must be|out of range)",
    "TGI, Together": r"`?inputs?`? (?:tokens )?\+ `?max_(?:new_)?tokens`? must be",
    "TGI, input": r"`?inputs?`? (?:must have|tokens must be|must be) less than",
    "Cohere": r"tokens? .{0,40}(?:cannot|can not|can't|must not|may not) exceed",
    "watsonx": r"number of (?:input|prompt) tokens .{0,40}(?:exceed|greater|larger|more)",
    "xAI": r"maximum (?:prompt|input|sequence|token|message)s? (?:length|size|count|tokens)",
    "Groq, Cerebras": r"reduce (?:the )?(?:length|size) of (?:the|your) (?:message|input|prompt)",
    "Cerebras": r"current length is .{0,20}while limit is",
    "Mistral": r"too (?:large|long|big) for (?:the |this )?model",
    "Ollama": r"prompt too long|input too long|context too long",
    "llama.cpp": r"exceeds? (?:the )?(?:available )?context(?: size| length| window)?",
    "llama.cpp, full": r"context (?:size|length|window|limit)s? (?:has been|was|is|limit)? ?exceed",
    "llama.cpp, batch": r"input is too large to process",
    "MiniMax": r"context (?:window|length|size) (?:exceeds|over) (?:the )?limit",
    "LM Studio": r"(?:greater|longer|larger|more|higher) than (?:the )?(?:model'?s? )?"
    r"(?:max\w* )?(?:context|sequence|allowed|model len)",
    "SGLang, vLLM": r"(?:longer|greater|larger|more) than (?:the )?(?:model'?s?|maximum|max)\b"
    r".{0,30}(?:context|length|len\b)",
    "vLLM, no room": r"max_tokens must be at least 1, got (?:0|-)",
    "vLLM, older": r"too long to fit into (?:the )?(?:model|context)",
    "vLLM, argument": r"max(?:imum)?[_ ]model[_ ]len(?:gth)?\b",
    "Z.ai": r"(?:prompt|input|context) (?:exceeds|over) max (?:length|tokens|size)",
    "TensorRT-LLM": r"(?:prompt|input|sequence) length .{0,40}exceeds? .{0,40}(?:length|limit|max)",
    "Databricks": r"exceed(?:s|ed)? (?:the )?max(?:imum)?[_ ]"
    r"(?:sequence|input|prompt|context|token)",
    "exllama": r"\bmax_seq_len\b",
    "LMDeploy": r"\bsession_len\b",
    "Cloudflare": r"exceeded (?:this |the )?model(?:'s)? context",
    "LiteLLM": r"contextwindowexceeded",
    "Copilot": r"(?:prompt|input|context) .{0,40}exceeds? the limit of " + _SIZE,
    "Fireworks": r"(?:prompt|input|context) .{0,40}(?:does not|doesn't|cannot) fit",
    "Writer": r"(?:input|prompt|context|token) (?:count|size|budget) .{0,30}"
    r"(?:exceed|too (?:large|long))",
    "Volcengine": r"total tokens .{0,40}exceed",
    "Perplexity": r"(?:not enough|no|insufficient) (?:room|space|context) .{0,30}"
    r"(?:prompt|context|tokens)",
    "others, of a limit": r"tokens? .{0,40}(?:exceeds?|exceeded|over|above|beyond) .{0,40}"
    r"(?:context|maximum (?:number of )?tokens|max(?:imum)? allowed|window|input limit)",
    "others, of a length": r"\b(?:prompt|inputs?|context|conversation|messages?|history|sequence)\b"
    r"[^.]{0,60}\b(?:too (?:long|large|big|many)|exceed\w*|longer than|over) [^.]{0,40}"
    r"(?:tokens?|context|length|window|limit|max\w*)",
    "others, too long": r"\b(?:prompt|inputs?|conversation|messages?)\b[^.]{0,40}\btoo long\b",
    "others, of tokens": r"\btokens?\b[^.]{0,60}(?:must be (?:less|at most|<=|under|below)|"
    r"(?:more|larger) than|limit (?:is |was |has been )?(?:exceeded|reached)|"
    r"exceed\w* .{0,20}limit)",
    "others, of the context": r"context (?:\w+ )?(?:is )?(?:full|exhausted|overflow|"
    r"limit (?:is |was )?(?:reached|hit))|(?:remaining|left in(?: the)?|available) context|"
    r"fit (?:\w+ ){0,3}(?:in|into|within) (?:\w+ ){0,2}context",
}
"""Wordings of a prompt that does not fit, each under a server that uses it."""
OUTPUT = r"at most [\d,]+ (?:completion|output) tokens"
"""A refusal of `max_tokens` on its own: a smaller reply may fit, but the prompt does."""
