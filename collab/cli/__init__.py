"""The command line: `collab VERB …`, one module a verb."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress

from collab.cli.stopping import StopSignal, legible, silence, stoppable

UNREAD = 141
"""The exit status where nobody reads what is printed, as a shell tells of SIGPIPE."""
SAMPLING = ("run", "play", "fork", "regrade")
VERBS = {
    "run": "play a scenario and print its tables (Hydra overrides; -m sweeps)",
    "play": "play one question ad hoc and watch it grow",
    "plan": "say what a run would cost and show three prompts; sends nothing",
    "show": "print one episode, coloured by author, with the reason of each hand-off",
    "cohort": "freeze the questions that several models solve alike in a file",
    "ls": "list the runs there are, how they stand and what they came to",
    "report": "print a run's tables again, or one table over all jobs of a sweep",
    "repro": "make one of the paper's tables or figures of runs of your own, and judge its claims",
    "import": "take over solo traces that were sampled elsewhere",
    "regrade": "judge a run's stored answers again, beside the first verdicts",
    "fork": "go on from a unit of a played episode with another policy",
    "label": "say by hand what went wrong in failed episodes, and see if the rules agree",
    "export": "write a run as CSV or Parquet tables, or as a log for Inspect",
    "watch": "watch one episode of a run grow, while the run goes on elsewhere",
    "view": "show a run or a sweep in the browser, live while it goes on",
    "doctor": "try what a model's endpoint does with thoughts that are not its own",
    "prune": "take out of the store what no run needs, and say first what that is",
    "serve": "serve a whole collaboration as one model, OpenAI-compatible",
    "launch": "run a model's server by hand, for every run that asks for it",
    "pocket": "serve the shipped reasoners behind an OpenAI-compatible endpoint",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status.

    0, 1 failed, 2 wrong use, 130 interrupted, 141 nobody reads what is printed, 143 terminated.

    Args:
        argv: The words; None: those of this process, which then ends in order at a SIGTERM too.
    """
    if argv is not None:
        return _told(StopSignal(), [*argv])
    with stoppable() as stop:
        legible()
        status = _told(stop, sys.argv[1:])
        return stop.status if stop.signal else status


def _told(stop: StopSignal, arguments: list[str]) -> int:
    """Run one verb; whatever ends it that its user can mend is told in one line."""
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        silence()
        return UNREAD
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        silence()  # Rich ends so where nobody reads on
        return UNREAD
    except KeyboardInterrupt:
        kept = "; the same command goes on" if arguments[:1] == ["label"] else ""
        if arguments[:1] and arguments[0] in SAMPLING:
            kept = ": what was sampled is stored; the same command goes on"
        _say(f"{stop.word}{kept}")
        return stop.status
    except Exception as error:
        from collab.app.error_line import error_line
        from collab.report.trajectory import safe  # what a server said is in some of them

        if (line := error_line(error)) is None:
            raise
        _say(f"error: {safe(line)}")
        silence()
        return 1


def _say(line: str) -> None:
    with suppress(OSError):  # nobody reads that either
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
        "collab COMMAND --help says more. Start with: collab run experiment=demo"
    )
