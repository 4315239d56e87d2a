"""The prompts that are shown are those that the server was sent, or it is said why not."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from collab.app.prompts import Prompts
from collab.core.trajectory import Trajectory, Wrote
from collab.endpoints.tokens import Tokenizer
from collab.errors import RunError
from collab.report.episode_json import episode_json, prompts
from collab.runs.run_folder import RunFolder

Command = Callable[..., Any]  # any: what conftest says a command comes to
Scripted = Callable[..., AbstractContextManager[Any]]  # any: conftest's Bench
THOUGHTS = ["It is three.\nAnd four.\n", "So it is 7. </think>The answer is \\boxed{7}."]
PAIR = (
    *("scenario=collaboration", "~scenario.against", "scenario.alone=null"),
    *("policy=alternate", "boundary=tokens", "boundary.count=9"),
    *("questions=pocket", "questions.count=1", "questions.levels=[easy]", "budget=60"),
)


@pytest.fixture
def played(command: Command, scripted: Scripted, tmp_path: Path, letters: Tokenizer) -> Any:
    """A run of two seats in turn, and what its server was sent."""
    with scripted(THOUGHTS) as bench:
        partner = [word.replace("team.main", "team.partner") for word in bench.words]
        words = ["team=pair", *bench.words, *partner, *PAIR, f"runs={tmp_path / 'runs'}"]
        said = command("run", *words)
        sent = [letters.decode(one.body["prompt"]) for one in bench.server.generating]
    assert said.status == 0, said.err
    (manifest,) = tmp_path.glob("runs/*/*/manifest.json")
    return RunFolder(manifest.parent), sent


def test_each_prompt_is_what_the_server_was_sent(played: Any) -> None:
    folder, sent = played
    ((episode, row),) = folder.episodes()
    shown = list(prompts(episode_json(episode, None, Prompts(folder), row["question"])["blocks"]))
    assert len(shown) > 3
    assert shown == [prompt for prompt in sent if prompt in shown][: len(shown)]
    assert shown[0].endswith("<think>\n")
    assert shown[-1].count("It is three.") > 1


def test_prompts_that_cannot_be_told_for_certain_say_why(played: Any, tmp_path: Path) -> None:
    folder, _ = played
    ((episode, row),) = folder.episodes()
    unit = next(one.unit for one in episode.trajectory.log if isinstance(one, Wrote))
    other = Trajectory().add(Wrote(unit))
    with pytest.raises(RunError, match=r"rebuilt with certainty: \d+ tokens were sent, and"):
        Prompts(folder)(row["question"], unit, other)
    template = tmp_path / "checkpoint" / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    blocks = episode_json(episode, None, Prompts(folder), row["question"])["blocks"]
    assert "template of" in blocks[0]["unsure"]
    manifest = json.loads((folder.path / "manifest.json").read_text())
    del manifest["config"]["team"]["main"]
    (folder.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="does not say how seat 'main' was asked"):
        Prompts(RunFolder(folder.path))(row["question"], unit, Trajectory())
