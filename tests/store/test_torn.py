"""Cut any file of a run at any byte: the next start has the same result, or names the damage."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.core.boundary import Answer
from collab.core.sampling import Generation, Request, Sampling
from collab.core.trajectory import Message, Question
from collab.endpoints.dialects import Frame, IdsDialect
from collab.endpoints.profile import Profile
from collab.endpoints.scripted import TEMPLATE
from collab.endpoints.tokens import Tokenizer
from collab.episode.team import Team
from collab.errors import RunError, StoreError
from collab.grading import Graders
from collab.policies.solo import Solo
from collab.reasoners.model import Model
from collab.runs.run import RunResult, Setup, SilentStages, run
from collab.runs.run_folder import RunFolder
from collab.scenarios.collaboration import Collaboration
from collab.store.store import Store
from collab.templates.template import Template

QUESTIONS = [Question(name, (Message("user", f"What is {name}?"),)) for name in ("a", "b", "c")]


class Canned:
    """An endpoint with draws that depend only on their seeds."""

    profile = Profile(returns_ids=True)
    oddities: ClassVar[Mapping[str, int]] = {}

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    async def complete(
        self, request: Request, draws: range, *, seed: int, **_: object
    ) -> list[Generation]:
        texts = [f"Draw {seed + nth}.</think>It is {seed + nth}." for nth in range(len(draws))]
        return [Generation(text, self._tokenizer.encode(text), "stop") for text in texts]

    async def ends(self, text: str) -> tuple[int, ...] | None:
        return None


def play(folder: Path, tokenizer: Tokenizer, snapshot: Path | None = None) -> RunResult:
    """Play a run in a folder, and copy its files and store as a kill would leave them."""

    async def all_of_it() -> RunResult:
        async with Store.open(folder / "store.sqlite", run=folder / "run") as store:
            model = Model(
                identity="canned@1",
                endpoint=Canned(tokenizer),
                dialect=IdsDialect(Frame(Template(TEMPLATE)), tokenizer),
                tokenizer=tokenizer,
                store=store,
                sampling=Sampling(),
            )
            setup = Setup(
                scenario=Collaboration(samples=2),
                policy=Solo(),
                questions=QUESTIONS,
                team=Team({"main": model}),
                grader=Graders({}),
                until=Answer(),
                budget=400,
            )
            with RunFolder.enter(folder / "run", {"budget": 400}, {}) as run_folder:
                run_folder.ask(QUESTIONS)
                result = await run(setup, run_folder, SilentStages())
                if snapshot:
                    shutil.copytree(folder, snapshot)
            return result

    return asyncio.run(all_of_it())


def ending(folder: Path, tokenizer: Tokenizer) -> RunResult | str:
    """Resume a run; return its result, or why it was refused."""
    try:
        return play(folder, tokenizer)
    except (RunError, StoreError) as refused:
        return str(refused)


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory, letters: Tokenizer
) -> tuple[Path, RunResult, list[str]]:
    """A run's folder after a kill, with its result and its files."""
    base = tmp_path_factory.mktemp("whole")
    whole = play(base / "live", letters, base / "killed")
    files = sorted(
        str(path.relative_to(base / "killed"))
        for path in (base / "killed").rglob("*")
        if path.is_file()
    )
    return base / "killed", whole, files


def test_all_kinds_of_files_are_there_to_be_cut(killed: tuple[Path, RunResult, list[str]]) -> None:
    _, _, files = killed
    named = {"store.sqlite", "store.sqlite-wal", "run/manifest.json", "run/questions.jsonl"}
    assert named | {"run/episodes.jsonl", "run/scores.jsonl"} <= set(files)


@settings(max_examples=25)
@given(st.data())
def test_a_run_of_which_any_file_is_cut_ends_alike_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
    killed: tuple[Path, RunResult, list[str]],
    letters: Tokenizer,
    data: st.DataObject,
) -> None:
    source, whole, files = killed
    folder = tmp_path_factory.mktemp("cut") / "run"
    shutil.copytree(source, folder)
    path = folder / data.draw(st.sampled_from(files))
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for _ in range(2):
        ended = ending(folder, letters)
        if isinstance(ended, str):
            assert "move" in ended or "damaged" in ended
        else:
            assert ended == whole
            assert len(list(RunFolder(folder / "run").episodes())) == len(whole.scores)
