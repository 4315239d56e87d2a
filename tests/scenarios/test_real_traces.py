"""Real traces go through truncation and stitching: nothing of them is lost or changed."""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from collab.core.boundary import Answer, Length, Share, cut_at_share, part
from collab.core.sentences import sentence_ends
from collab.core.trajectory import Message, Question, Recording
from collab.endpoints.scripted import ScriptedServer
from collab.endpoints.tokens import Tokenizer
from collab.episode.engine import Case, play_case
from collab.episode.playback import play
from collab.episode.reasoner import Recorded
from collab.episode.team import Team
from collab.pocket.server import find
from collab.policies.distractor import Distractor
from collab.reasoners.model import Model

Seat = Callable[..., Awaitable[Model]]
FOLDER = Path(__file__).parents[3] / "shared/data/traces"
SOURCES = (
    "mip_overthinking",
    "skythought",
    "understanding_reasoning_models",
    "trace_topology",
    "thought_anchors",
    "thinking_traces_items",
)
SHARES = (0.2, 0.4, 0.6, 0.8)
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason=f"needs {FOLDER}")
STEP = 200
"""Every how manieth trace the fast test takes."""


@cache
def tokenizer() -> Tokenizer:
    """The pocket reasoners' own: bytes and pieces, so that it has tokens for any text."""
    return Tokenizer.load(find("plain"))


def traces(source: str, step: int) -> Iterator[Recording]:
    lines = (FOLDER / f"{source}.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines[::step]:
        text = json.loads(line)["reasoning"]
        if text.strip():
            ids = tokenizer().encode(text)
            yield Recording(
                "q", text, len(ids), ids, tokenizer().fingerprint, tokenizer().ends(ids)
            )


def is_cut_at_the_nearest_sentence_end(trace: Recording, share: float) -> None:
    """Look at a cut from outside: which ends were there to choose from, and was it the nearest?"""
    assert trace.ends is not None
    unit = play(trace, 0, Share(of=share), "main", "")
    assert trace.text.encode().startswith(unit.text.encode())
    assert tokenizer().decode(unit.ids or ()) == unit.text
    places = sorted({*sentence_ends(trace.text), len(trace.text)} & set(trace.ends))
    counts = {place: trace.ends.index(place) + 1 for place in places}
    off = {place: abs(counts[place] - share * len(trace.ends)) for place in places}
    assert off[len(unit.text)] == min(off.values())
    realised = cut_at_share(trace, share).share
    assert realised == counts[len(unit.text)] / len(trace.ends)
    longest = max(late - early for early, late in pairwise([0, *counts.values()]))
    assert abs(realised - share) * len(trace.ends) <= longest


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("step", [STEP, pytest.param(3, marks=pytest.mark.long)])
def test_a_real_trace_is_cut_at_the_nearest_sentence_end(source: str, step: int) -> None:
    for trace in traces(source, step):
        for share in SHARES:
            is_cut_at_the_nearest_sentence_end(trace, share)


@pytest.mark.parametrize("source", SOURCES)
def test_played_in_parts_a_real_trace_is_byte_for_byte_itself(source: str) -> None:
    for trace in traces(source, STEP):
        for until in (Length(tokens=800), Length(tokens=800, by="chunk")):
            played = ""
            while len(played) < len(trace.text):
                played += play(trace, len(played), until, "main", "").text
            assert played.encode() == trace.text.encode()
        chunks = [cut_at_share(trace, share, by="chunk") for share in (0, *SHARES, 1)]
        parts = [part(trace, early, late) for early, late in pairwise(chunks)]
        assert "".join(one.text for one in parts) == trace.text


async def test_the_model_reads_the_stitched_traces_byte_for_byte(seat: Seat) -> None:
    """Own opening, phrase and steer stand in the prompt as they stand in their sources."""
    originals, steers = traces("skythought", 160), traces("mip_overthinking", 120)
    async with ScriptedServer("So it goes.\n</think>\\boxed{1}", context=100_000) as server:
        team = Team({"main": await seat(server.url, text=True), "distractor": Recorded()})
        for nth, (own, steer) in enumerate(zip(originals, steers, strict=False)):
            policy = Distractor(at=0.4, length=0.2)
            case = Case(
                f"c{nth}",
                Question("q", (Message("user", "Prove it."),), "1"),
                policy,
                {"main": own, "distractor": steer},
            )
            await play_case(case, team, until=Answer(), budget=90_000)
            sent = server.requests[-1].body["prompt"].rpartition("<think>\n")[2]
            begin = own.text[: cut_at_share(own, 0.4).chars]
            middle = ("" if begin.endswith("\n") else "\n") + policy.phrase
            assert sent == begin + middle + steer.text[: cut_at_share(steer, 0.2).chars]
            assert own.text.startswith(begin)


@pytest.mark.long
def test_hardly_a_cut_of_a_real_trace_is_inside_a_formula_code_or_a_name() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "sentence_cuts.py"
    printed = subprocess.run(
        [sys.executable, str(script), str(FOLDER)], capture_output=True, text=True, check=True
    ).stdout
    found = json.loads(printed.splitlines()[-1])
    assert found["cuts"] > 4_000
    assert found["share"] < 0.0005, found["faults"]
