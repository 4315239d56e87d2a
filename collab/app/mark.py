"""Know one's own runs again: a manifest carries a mark that only this user's key can make.

The key lies in the user's state directory, where nobody who sends or changes a run folder can reach
it. The mark is a keyed hash of the run's config, so it moves and is copied with the folder, and is
void once the config is changed.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from collab.runs.run_folder import RunFolder

SIZE = 32
"""Bytes of the key."""
FILES = ("manifest.json", "episodes.jsonl", "questions.jsonl", "scores.jsonl")
"""What decides what a run does when it goes on, or is judged again."""


class NoKey(Exception):
    """There is no key; the message says why."""


def mark_of(config: Mapping[str, Any]) -> str:  # any: JSON
    """Return the mark of a config; empty where this user can keep no key."""
    try:
        return _mark(_key(), config)
    except NoKey:
        return ""


def why_foreign(folder: RunFolder) -> str:
    """Say why a run does not count as this user's own; empty where it does.

    Raises:
        RunError: There is no run.
    """
    manifest = folder.manifest
    mark = manifest.get("mark")
    try:
        key = _read()
    except NoKey as error:
        return str(error)
    if not isinstance(mark, str) or not mark:
        return "it carries no mark of yours"
    if not hmac.compare_digest(_mark(key, manifest.get("config", {})).encode(), mark.encode()):
        return "its mark is not yours, or its config was changed"
    return next((why for name in FILES if (why := _changeable(folder.path / name))), "")


def key_file() -> Path:
    """Return where the key is kept.

    Raises:
        NoKey: This user has no home.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):  # as the XDG specification has it
        base = os.path.expanduser("~/.local/state")
    if not os.path.isabs(base):
        raise NoKey("this user has no home directory, where own runs are remembered")
    return Path(base) / "collab" / "key"


def _mark(key: bytes, config: Mapping[str, Any]) -> str:  # any: JSON
    written = json.loads(json.dumps(config, default=str))  # as it comes back from a file
    text = json.dumps(written, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def _changeable(path: Path) -> str:
    """Say how somebody else could have changed a file."""
    with suppress(FileNotFoundError):
        found = path.stat()
        if found.st_uid not in (os.geteuid(), 0):
            return f"{path.name} belongs to another user"
        if found.st_mode & stat.S_IWOTH:
            return f"any user may write to {path.name}"
    return ""


def _key() -> bytes:
    """Return the key; the first process that needs it makes it."""
    with suppress(FileNotFoundError):
        return _read(missing=True)
    file = key_file()
    aside = file.with_name(f".key-{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(secrets.token_bytes(SIZE))
            new.flush()
            os.fsync(new.fileno())
        _settle(aside, file)
    except OSError as error:
        raise NoKey(f"own runs cannot be remembered in {str(file)!r}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    return _read()


def _settle(aside: Path, file: Path) -> None:
    """Give a new key its name, unless another process was first."""
    try:
        os.link(aside, file)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not file.exists():
            os.replace(aside, file)


def _read(*, missing: bool = False) -> bytes:
    file = key_file()
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as kept:
            found = os.fstat(kept.fileno())
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise NoKey(f"{str(file)!r} is not this user's alone (chmod 600, or remove it)")
            key = kept.read(SIZE)
    except FileNotFoundError:
        if missing:
            raise
        raise NoKey("no run of yours was made with the key of this machine yet") from None
    except OSError as error:
        raise NoKey(f"{str(file)!r} cannot be read: {error.strerror}") from None
    if len(key) < SIZE:
        raise NoKey(f"{str(file)!r} holds no key; remove it")
    return key
