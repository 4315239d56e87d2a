"""`collab view DIR`: show a run, or all runs in a folder, as a page in the browser.

The page is served only to this machine, at an address that contains a secret. It updates itself
while a run continues.
"""

from __future__ import annotations

import argparse
import secrets
import threading
import webbrowser
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from collab.app.prompts import Prompts
from collab.app.trust import add_trust_argument
from collab.report.served import viewer
from collab.serving import serve


def main(argv: list[str]) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="collab view", description=__doc__)
    parser.add_argument("folder", type=Path, help="a run's folder, a sweep's (runs/NAME), or runs/")
    parser.add_argument("--port", type=int, default=0, help="0: any free port (default: 0)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    add_trust_argument(parser)
    words = parser.parse_args(argv)
    secret = secrets.token_urlsafe(24)
    app = viewer(words.folder.resolve(), partial(Prompts, trust=words.trust), secret=secret)
    with (
        suppress(KeyboardInterrupt),  # the usual end
        serve(app, port=words.port) as url,
        TemporaryDirectory(prefix="collab-view-") as own,
    ):
        Console(soft_wrap=True).print(f"{url}/{secret}/ (Ctrl-C ends it)", highlight=False)
        if not words.no_browser:
            _show(f"{url}/{secret}/", Path(own) / "open.html")
        threading.Event().wait()
    return 0


def _show(url: str, page: Path) -> None:
    """Open the address by a private file, because all users can read a command line."""
    page.write_text(f'<meta http-equiv="refresh" content="0; url={url}">', encoding="utf-8")
    webbrowser.open(page.as_uri())
