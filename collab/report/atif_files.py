"""Export a run in the Agent Trajectory Interchange Format (ATIF v1.8), a file per episode.

Each unit is a step of the agent: thinking in `reasoning_content`, the answer in `message`. ATIF has
no field for the author of a step, so the seat, the kind of the unit and the policy's reason are in
the step's `extra`. The whole log, with struck units and side questions, is in the file's `extra`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from collab.core.cost import Cost
from collab.core.sampling import Sampling
from collab.core.trajectory import Question, Unit
from collab.episode.engine import Episode
from collab.report.runs import RunSummary
from collab.runs.jsonl import Plain, written
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

VERSION = "ATIF-v1.8"
UNFIT = re.compile(r"[^\w.-]+")
MEASURES = ("tokenizer", "top20_entropy", "logprob")
"""What a unit knows of its tokens, beside their ids."""


def export_atif(folder: RunFolder, to: Path) -> Iterator[int]:
    """Write a file per episode; yield the number of finished episodes after each.

    Raises:
        RunError: The folder holds no run, or a file cannot be written.
    """
    job = RunSummary(folder)
    agent, scores, questions = _agent(job), folder.scores(), folder.questions()
    with written(to):
        to.mkdir(parents=True, exist_ok=True)
        for done, (episode, row) in enumerate(folder.episodes(), 1):
            score = scores[episode.case]
            made = _trajectory(episode, row, questions[row["question"]], score, agent)
            made["session_id"] = folder.path.name
            name = f"{done:05d}-{UNFIT.sub('-', episode.case)[:80]}.json"
            text = json.dumps(made, ensure_ascii=False, indent=1)
            (to / name).write_bytes(text.encode("utf-8", "replace"))
            yield done


def _agent(job: RunSummary) -> Plain:
    """Describe the team as ATIF's agent, with the model and the sampling of each seat."""
    team = job.folder.manifest["decides"].get("team", {})
    known = ("id", *Sampling.model_fields)
    seats = {
        seat: {key: one[key] for key in known if one.get(key) is not None}
        for seat, one in team.items()
    }
    starts = job.folder.manifest["starts"] or [{}]
    version = str(starts[-1].get("versions", {}).get("collab"))
    return {"name": "collab", "version": version, "extra": {"seats": seats}}


def _trajectory(
    episode: Episode, row: Plain, question: Question, score: Score, agent: Plain
) -> Plain:
    models = {seat: one.get("id") for seat, one in agent["extra"]["seats"].items()}
    trajectory = episode.trajectory
    sources = {"assistant": "agent"}
    steps: list[Plain] = [
        {"source": sources.get(one.role, one.role), "message": one.content}
        for one in question.messages
    ]
    steps += [_step(unit, models) for unit in (*trajectory.units, *trajectory.reply)]
    cost = Cost.of(one for costs in episode.costs.values() for one in costs.values())
    return {
        "schema_version": VERSION,
        "trajectory_id": episode.case,
        "agent": agent,
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, 1)],
        "final_metrics": {
            "total_prompt_tokens": cost.prompt,
            "total_completion_tokens": cost.completion,
            "total_cached_tokens": cost.cached,
            "total_cost_usd": float(cost.money),
        },
        "extra": {
            "question": question.id,
            "gold_answer": question.answer,
            "policy": row["policy"],
            "finish": episode.finish,
            "verdict": score.verdict,
            "factors": dict(score.factors),
            "log": row["log"],
        },
    }


def _step(unit: Unit, models: Mapping[str, str | None]) -> Plain:
    """Convert a unit; text that the policy inserted is no inference, and has no metrics."""
    said: Plain = {"seat": unit.author, "kind": unit.kind, "reason": unit.why, "phase": unit.phase}
    step: Plain = {"source": "agent", "message": "", "extra": said}
    if (model := models.get(unit.author)) is not None:
        step["model_name"] = model
    measures = {name: getattr(unit, name) for name in MEASURES}
    measures = {name: value for name, value in measures.items() if value is not None}
    ids = None if unit.ids is None else [*unit.ids]
    if unit.kind == "inserted":
        said |= {"tokens": unit.tokens, "token_ids": ids, **measures}
        return {**step, "message": unit.text, "llm_call_count": 0}
    step["message" if unit.phase == "answer" else "reasoning_content"] = unit.text
    metrics = {"completion_tokens": unit.tokens, "extra": measures}
    step["metrics"] = metrics if ids is None else {**metrics, "completion_token_ids": ids}
    return step
