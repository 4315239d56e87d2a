"""Does a server do what its dialect says?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from collab.core.blocking import run_apart
from collab.endpoints.client import Endpoint
from collab.endpoints.dialects import Dialect, Frame
from collab.endpoints.doctor import Doctor
from collab.endpoints.limits import Limits
from collab.endpoints.profile import DialectName, Profile
from collab.endpoints.registry import choose
from collab.endpoints.tokens import Tokenizer, model_folder
from collab.errors import CollabError
from collab.templates.template import Template


def check_endpoint(
    url: str,
    model: str,
    *,
    dialect: DialectName = "ids",
    checkpoint: str | Path | None = None,
    tags: tuple[str, str] = ("<think>\n", "</think>"),
    api_key: str | None = None,
    must: Collection[str] = (),
) -> Profile:
    """Have a doctor examine a server: what it does with thoughts that are not its own, and draws.

    An endpoint keeps its contract if a begun thought goes on there as it stands: no probe finds
    anything broken. What a run can live with, such as seeds that decide nothing, is in the profile.

    Args:
        url: Where its API begins, such as `http://localhost:8000/v1`.
        model: What the server calls the model.
        dialect: How a thought is continued there.
        checkpoint: A folder or Hugging Face id with tokenizer and chat template, for dialects that
            write the prompt themselves.
        tags: What opens and closes a think block.
        api_key: Its key; None: it wants none.
        must: Probes that must find all well, such as `seed` and `logprobs`.

    Returns:
        What was found.

    Raises:
        AssertionError: It broke the contract; the message says what was tried and what came back.
    """
    folder = model_folder(str(checkpoint)) if checkpoint is not None else None
    tokenizer = Tokenizer.load(folder) if folder else None
    frame = Frame(Template.load(folder), *tags) if folder else None

    def made(profile: Profile) -> Dialect:
        return choose(profile, frame, tokenizer, *tags)

    async def examine() -> Profile:
        known = Profile(dialect=dialect)
        endpoint = Endpoint(
            url,
            model,
            tokenizer,
            form=made(known).form,
            profile=known,
            api_key=api_key,
            limits=Limits(retries=1),
        )
        async with endpoint:
            return await Doctor(endpoint, tokenizer, made, tags).examine()

    try:
        profile = run_apart(examine())
    except CollabError as error:
        raise AssertionError(f"{url} cannot be examined: {error}") from error
    check_profile(profile, must)
    return profile


def check_profile(profile: Profile, must: Collection[str]) -> None:
    """Look through what a doctor has found.

    Raises:
        AssertionError: Something is broken, or one of `must` is not well.
    """
    tried = {finding.probe for finding in profile.findings}
    if missing := set(must) - tried:
        raise AssertionError(f"no such probe: {sorted(missing)} (tried were {sorted(tried)})")
    odd = [
        f"{one.probe} is {one.verdict}: tried {one.tried}, came back: {one.came}"
        for one in profile.findings
        if one.verdict == "broken" or (one.probe in must and one.verdict != "ok")
    ]
    if odd:
        raise AssertionError("; ".join(odd))
