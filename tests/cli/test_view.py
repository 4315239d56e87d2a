"""`collab view`: the page is at an address that other users of the machine do not learn."""

import os
import re
import shlex
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Kept, until_ctrl_c

BROWSER = """\
import sys
open(sys.argv[1], "w").write(sys.argv[2])
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A pipe on which the browser tells what it was asked to open."""
    pipe = tmp_path / "told"
    os.mkfifo(pipe)
    (tmp_path / "browser.py").write_text(BROWSER)
    return pipe


def test_the_address_has_a_secret_that_no_command_line_shows(kept: Kept, told: Path) -> None:
    browser = shlex.join([sys.executable, str(told.with_name("browser.py")), str(told), "%s"])
    env = os.environ | {"BROWSER": browser}
    with until_ctrl_c("view", str(kept.folder), cwd=told.parent, env=env) as said:
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/([\w-]{32})/ \(Ctrl-C ends it\)\n", said)
        assert found
        assert httpx2.get(f"{found[1]}/{found[2]}/data", trust_env=False).status_code == 200
        for path in ("", "/", "/data", "/page.js", f"/{found[2][:-1]}/data"):
            assert httpx2.get(f"{found[1]}{path}", trust_env=False).status_code == 403
        opened = told.read_text()
        assert found[2] not in opened
        page = Path(opened.removeprefix("file://"))
        assert f"url={found[0].split()[0]}" in page.read_text()
        assert page.parent.stat().st_mode & 0o077 == 0
    assert not page.exists()


def test_ctrl_c_ends_it_without_a_word_whoever_is_connected(
    kept: Kept, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("view", str(kept.folder), "--no-browser")
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    with ExitStack() as stack, until_ctrl_c(*words, cwd=kept.folder, env=os.environ) as said:
        port = int(said.split(":")[2].partition("/")[0])
        for sends in (b"", b"GET / HT", head + b"Content-Length: 9\r\n\r\n", head + b"\r\n"):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(sends)
        assert client.recv(12) == b"HTTP/1.1 403"
    assert capfd.readouterr().err == ""
