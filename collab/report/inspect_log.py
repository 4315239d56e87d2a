"""Export a run as an Inspect log, which `inspect view` and `read_eval_log` open.

An episode is a sample: the question, the thinking as reasoning, the answer, the verdict as a score,
factors and labels as metadata, and each hand-off with its reason as an event. The file is a zip
with a member per sample, so memory use does not grow with the run. Format: version 2 of Inspect's
logs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from collab.core.cost import Cost
from collab.core.trajectory import Event, Question, Wrote
from collab.episode.engine import Episode
from collab.report.runs import RunSummary
from collab.runs.jsonl import Plain, written
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Score

VERSION = 2
SCORER = "collab"
STOPS = {
    "answered": "stop",
    "answer cut": "max_tokens",
    "never closed": "max_tokens",
    "context full": "model_length",
    "refused": "content_filter",
}
"""Inspect's stop reason for each finish; others are `unknown`."""


def export_log(folder: RunFolder, to: Path) -> Iterator[int]:
    """Write a run's log into a folder; yield the number of finished episodes after each.

    Raises:
        RunError: The folder holds no run, or the file cannot be written.
    """
    job = RunSummary(folder)
    scores, questions = folder.scores(), folder.questions()
    began, ended = _times(job)
    day = re.sub(r"[^\w+-]", "-", began)[
        :40
    ]  # the manifest is untrusted, so it is no part of the path
    path = to / f"{day}_{folder.path.resolve().parent.name}_{folder.path.resolve().name}.eval"
    summaries: list[Plain] = []
    with written(path):
        to.mkdir(parents=True, exist_ok=True)
        with ZipFile(path, "w", ZIP_DEFLATED) as file:

            def member(name: str, value: object) -> None:
                text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
                file.writestr(name, text.encode("utf-8", "replace"))

            for done, (episode, row) in enumerate(folder.episodes(), 1):
                sample = _sample(episode, questions[row["question"]], scores[episode.case], began)
                member(f"samples/{sample['id']}_epoch_1.json", sample)
                summaries.append(_summary(sample))
                yield done
            member("summaries.json", summaries)
            right = sum(score.correct for score in scores.values())
            ids = [one["id"] for one in summaries]
            member("header.json", _header(job, ids, right, (began, ended)))


def _version(manifest: Plain) -> str:
    """Return the version of collab of the last start."""
    last = manifest["starts"][-1] if manifest["starts"] else {}
    return str(last.get("versions", {}).get("collab"))


def _times(job: RunSummary) -> tuple[str, str]:
    starts = job.folder.manifest["starts"] or [{}]
    return str(starts[0].get("at", "")), str(starts[-1].get("at", ""))


def _sample(episode: Episode, question: Question, score: Score, at: str) -> Plain:
    trajectory = episode.trajectory
    reply = {
        "role": "assistant",
        "content": [
            {"type": "reasoning", "reasoning": trajectory.thinking},
            {"type": "text", "text": trajectory.answer},
        ],
    }
    asked = [{"role": one.role, "content": one.content} for one in question.messages]
    usage = {seat: _usage(Cost.of(costs.values())) for seat, costs in episode.costs.items()}
    stop = STOPS.get(episode.finish, "unknown")
    choice = {"message": reply, "stop_reason": stop}
    return {
        "id": episode.case,
        "epoch": 1,
        "input": asked,
        "target": question.answer or "",
        "messages": [*asked, reply],
        "output": {"model": "", "choices": [choice], "completion": trajectory.answer},
        "scores": {
            SCORER: {
                "value": "C" if score.correct else "I",
                "answer": score.extracted,
                "explanation": score.verdict,
                "metadata": {"strict": score.strict, "lenient": score.lenient, **score.details},
            }
        },
        "metadata": {**score.factors, "finish": episode.finish, "tokens": score.tokens},
        "events": [_event(event, at) for event in trajectory.log],
        "model_usage": usage,
    }


def _event(event: Event, at: str) -> Plain:
    """Convert one event of a trajectory, with its author and reason."""
    common = {"timestamp": at, "working_start": 0.0, "event": "info"}
    if isinstance(event, Wrote):
        unit = event.unit
        data = {"kind": unit.kind, "why": unit.why, "tokens": unit.tokens, "text": unit.text}
        return {**common, "source": unit.author, "data": data}
    seat, why = getattr(event, "seat", None), getattr(event, "why", "")
    return {**common, "source": seat or "policy", "data": {"event": event.event, "why": why}}


def _usage(cost: Cost) -> Plain:
    return {
        "input_tokens": cost.prompt,
        "output_tokens": cost.completion,
        "total_tokens": cost.prompt + cost.completion,
        "input_tokens_cache_read": cost.cached,
    }


def _summary(sample: Plain) -> Plain:
    kept = ("id", "epoch", "input", "target", "metadata", "scores", "model_usage")
    return {**{name: sample[name] for name in kept}, "completed": True}


def _header(job: RunSummary, ids: Sequence[str], right: int, times: tuple[str, str]) -> Plain:
    (began, ended), count = times, len(ids)
    manifest = job.folder.manifest
    team = manifest["decides"].get("team", {})
    models = {seat: str(one["id"]) for seat, one in team.items() if one.get("id")}
    scenario, policy = job.kind
    accuracy = {"name": "accuracy", "value": right / count if count else 0.0}
    return {
        "version": VERSION,
        "status": "success" if job.state == "finished" else "cancelled",
        "eval": {
            "created": began,
            "run_id": job.folder.path.name,
            "eval_id": job.folder.path.name,
            "task": f"{scenario} · {policy}",
            "task_id": job.folder.path.name,
            "task_args": job.settings,
            "dataset": {
                "name": str(job.settings.get("questions._target_")),
                "samples": count,
                "sample_ids": list(ids),
            },
            "model": models.get("main") or next(iter(models.values()), "none"),
            "config": {},
            "packages": {"collab": _version(manifest)},
            "metadata": {"seats": models},
        },
        "results": {
            "total_samples": count,
            "completed_samples": count,
            "scores": [{"name": SCORER, "scorer": SCORER, "metrics": {"accuracy": accuracy}}],
        },
        "stats": {"started_at": began, "completed_at": ended},
    }
