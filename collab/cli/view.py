"""`collab view DIR`: a run, or all runs in a folder, as a page in the browser.

Served to this machine alone; what a run adds while it goes on comes up by itself.
"""

from __future__ import annotations

import argparse
import threading
import webbrowser
from functools import partial
from pathlib import Path

from rich.console import Console

from collab.cli.prompts import Prompts
from collab.cli.trust import add_trust_argument
from collab.report.served import viewer
from collab.wire import serve


def main(argv: list[str]) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="collab view", description=__doc__)
    parser.add_argument("folder", type=Path, help="a run's folder, a sweep's (runs/NAME), or runs/")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default: 0)")
    parser.add_argument("--no-browser", action="store_true", help="only say where it is")
    add_trust_argument(parser)
    words = parser.parse_args(argv)
    readers = partial(Prompts, trust=words.trust)
    with serve(viewer(words.folder.resolve(), readers), port=words.port) as url:
        Console(soft_wrap=True).print(f"{url}/ (Ctrl-C ends it)", highlight=False)
        if not words.no_browser:
            webbrowser.open(url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0
