"""The command line `collab VERB …`: one module for each verb."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress

from collab.cli.stopping import StopSignal, escape_unencodable, silence, stoppable

BROKEN_PIPE = 141
"""The exit status when the reader of the output has gone, as a shell reports SIGPIPE."""
SAMPLING = ("run", "play", "fork", "regrade")
VERBS = {
    "run": "play a scenario and print its tables (Hydra overrides; -m sweeps)",
    "play": "play one question ad hoc and watch it grow",
    "plan": "estimate what a run would cost and show three prompts; sends nothing",
    "show": "print one episode, coloured by author, with the reason of each hand-off",
    "cohort": "write the questions that several models solve equally often to a file",
    "ls": "list runs with their state and their headline result",
    "report": "print the tables of a run, or one table over all jobs of a sweep",
    "repro": "reproduce a table or figure of the paper from your own runs, and check its claims",
    "import": "import solo traces that were sampled elsewhere",
    "regrade": "grade a run's stored answers again, next to the first verdicts",
    "grade": "grade answers in a JSON lines file, without a run",
    "fork": "continue from a unit of a played episode with another policy",
    "label": "label failure modes of episodes by hand, and compare them with the rules",
    "export": "write a run as CSV or Parquet tables, or as a log for Inspect",
    "watch": "watch one episode of a running run grow",
    "view": "show a run or a sweep in the browser, live while it runs",
    "doctor": "check what a model's endpoint does with thoughts that it did not write",
    "prune": "remove generations that no run needs from the store, after listing them",
    "serve": "serve a whole collaboration as one model, OpenAI-compatible",
    "launch": "start a model's server by hand, for all runs that need it",
    "pocket": "serve the shipped reasoners behind an OpenAI-compatible endpoint",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status.

    The status is 0 for success, 1 for failure, 2 for wrong usage, 130 when interrupted, 141 when
    the reader of the output has gone, and 143 when terminated.

    Args:
        argv: The words; None: those of this process, which then also ends in order at SIGTERM.
    """
    if argv is not None:
        return _run_reporting(StopSignal(), [*argv])
    with stoppable() as stop:
        escape_unencodable()
        status = _run_reporting(stop, sys.argv[1:])
        return stop.status if stop.signal else status


def _run_reporting(stop: StopSignal, arguments: list[str]) -> int:
    """Run one verb, and print an error that the user can fix in one line."""
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        silence()
        return BROKEN_PIPE
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        silence()  # Rich exits this way when the reader has gone
        return BROKEN_PIPE
    except KeyboardInterrupt:
        kept = "; the same command continues" if arguments[:1] == ["label"] else ""
        if arguments[:1] and arguments[0] in SAMPLING:
            kept = ": what was sampled is stored; the same command continues"
        _print_error(f"{stop.word}{kept}")
        return stop.status
    except Exception as error:
        from collab.app.error_line import error_line
        from collab.report.trajectory import safe  # some messages quote a server's reply

        if (line := error_line(error)) is None:
            raise
        _print_error(f"error: {safe(line)}")
        silence()
        return 1


def _print_error(line: str) -> None:
    with suppress(OSError):  # the reader of stderr has gone too
        print(line, file=sys.stderr, flush=True)


def _run(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help"):
        print(_help())
        return 0
    if verb == "--version":
        from collab.core.release import installed

        print(f"collab {installed()}")
        return 0
    if verb not in VERBS:
        print(
            f"error: unknown command {verb!r} (commands: {', '.join(sorted(VERBS))})",
            file=sys.stderr,
        )
        return 2
    status: int = importlib.import_module(f"collab.cli.{verb}").main(arguments[1:])
    return status


def _help() -> str:
    width = max(map(len, VERBS))
    lines = "\n".join(f"  {verb:<{width}}  {does}" for verb, does in VERBS.items())
    return (
        "Simulate several reasoning models thinking together on one shared trajectory.\n\n"
        f"usage: collab COMMAND [ARGUMENTS]\n\n{lines}\n\n"
        "Run collab COMMAND --help for details. Start with: collab run experiment=demo"
    )
