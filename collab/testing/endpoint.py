"""Check that a server does what its dialect promises."""

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
from collab.endpoints.tokens import Tokenizer, model_files
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
    """Examine with the doctor how a server continues thoughts of another model, and how it samples.

    An endpoint keeps its contract if it continues a given thought unchanged: no probe finds
    anything broken. Limitations that a run can accept, such as ignored seeds, are in the profile.

    Args:
        url: The address of the API, such as `http://localhost:8000/v1`.
        model: The name of the model on the server.
        dialect: How the server continues a thought.
        checkpoint: A folder or Hugging Face id with tokenizer and chat template, for dialects that
            render the prompt themselves.
        tags: The tags that open and close a think block.
        api_key: The API key; None: the server needs no key.
        must: Probes whose verdict must be `ok`, such as `seed` and `logprobs`.

    Returns:
        The profile with the findings.

    Raises:
        AssertionError: The endpoint broke the contract; the message says what was tried and what
            the server returned.
    """
    folder = model_files(str(checkpoint)) if checkpoint is not None else None
    tokenizer = Tokenizer.load(folder) if folder else None
    frame = Frame(Template.load(folder), *tags) if folder else None

    def dialect_of(profile: Profile) -> Dialect:
        return choose(profile, frame, tokenizer, *tags)

    async def examine() -> Profile:
        known = Profile(dialect=dialect)
        endpoint = Endpoint(
            url,
            model,
            tokenizer,
            form=dialect_of(known).form,
            profile=known,
            api_key=api_key,
            limits=Limits(retries=1),
        )
        async with endpoint:
            return await Doctor(endpoint, tokenizer, dialect_of, tags).examine()

    try:
        profile = run_apart(examine())
    except CollabError as error:
        raise AssertionError(f"{url} cannot be examined: {error}") from error
    check_profile(profile, must)
    return profile


def check_profile(profile: Profile, must: Collection[str]) -> None:
    """Check the findings of a doctor.

    Raises:
        AssertionError: A finding is broken, or the verdict of a probe in `must` is not `ok`.
    """
    probes = {finding.probe for finding in profile.findings}
    if missing := set(must) - probes:
        raise AssertionError(f"unknown probes: {sorted(missing)} (probes: {sorted(probes)})")
    bad = [
        f"{finding.probe} is {finding.verdict}: tried {finding.tried}, got back: {finding.came}"
        for finding in profile.findings
        if finding.verdict == "broken" or (finding.probe in must and finding.verdict != "ok")
    ]
    if bad:
        raise AssertionError("; ".join(bad))
