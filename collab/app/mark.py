"""Recognise the user's own runs by a mark in the manifest that only the user's key can make.

The key is in the user's state directory, out of reach of anyone who sends or changes a run folder.
The mark is a keyed hash of the run's config. It is copied with the folder, and becomes invalid when
the config changes.
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

from collab.app.user_folders import state_folder
from collab.runs.run_folder import RunFolder

SIZE = 32
"""Size of the key (bytes)."""
FILES = ("manifest.json", "episodes.jsonl", "questions.jsonl", "scores.jsonl")
"""The files that control a run when it continues or is graded again."""


class NoKey(Exception):
    """The user has no key; the message says why."""


def mark_of(config: Mapping[str, Any]) -> str:  # any: JSON
    """Return the mark of a config; empty if this user can keep no key."""
    try:
        return _sign(_ensure_key(), config)
    except NoKey:
        return ""


def why_foreign(folder: RunFolder) -> str:
    """Return the reason why a run does not count as the user's own; empty if it does.

    Raises:
        RunError: The folder holds no run.
    """
    manifest = folder.manifest
    mark = manifest.get("mark")
    try:
        key = _read_key()
    except NoKey as error:
        return str(error)
    if not isinstance(mark, str) or not mark:
        return "it carries no mark of yours"
    if not hmac.compare_digest(_sign(key, manifest.get("config", {})).encode(), mark.encode()):
        return "its mark is not yours, or its config was changed"
    return next((why for name in FILES if (why := _changeable(folder.path / name))), "")


def key_file() -> Path:
    """Return the file of the key.

    Raises:
        NoKey: This user has no home directory.
    """
    folder = state_folder()
    if not folder.is_absolute():
        raise NoKey("this user has no home directory to keep the key of own runs in")
    return folder / "key"


def _sign(key: bytes, config: Mapping[str, Any]) -> str:  # any: JSON
    written = json.loads(json.dumps(config, default=str))  # as a file returns it
    text = json.dumps(written, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def _changeable(path: Path) -> str:
    """Return how another user could have changed a file; empty if none could."""
    with suppress(FileNotFoundError):
        found = path.stat()
        if found.st_uid not in (os.geteuid(), 0):
            return f"{path.name} belongs to another user"
        if found.st_mode & stat.S_IWOTH:
            return f"any user may write to {path.name}"
    return ""


def _ensure_key() -> bytes:
    """Return the key; the first process that needs it makes it."""
    with suppress(FileNotFoundError):
        return _read_key(missing_ok=True)
    file = key_file()
    new_file = file.with_name(f".key-{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(secrets.token_bytes(SIZE))
            new.flush()
            os.fsync(new.fileno())
        _publish(new_file, file)
    except OSError as error:
        raise NoKey(f"cannot write the key of own runs, {str(file)!r}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            new_file.unlink(missing_ok=True)
    return _read_key()


def _publish(new_file: Path, file: Path) -> None:
    """Give a new key its final name, unless another process was first."""
    try:
        os.link(new_file, file)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not file.exists():
            os.replace(new_file, file)


def _read_key(*, missing_ok: bool = False) -> bytes:
    file = key_file()
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as kept:
            found = os.fstat(kept.fileno())
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise NoKey(
                    f"other users can read or change {str(file)!r}: chmod 600, or remove it"
                )
            key = kept.read(SIZE)
    except FileNotFoundError:
        if missing_ok:
            raise
        raise NoKey("you have made no run with the key of this machine yet") from None
    except OSError as error:
        raise NoKey(f"{str(file)!r} cannot be read: {error.strerror}") from None
    if len(key) < SIZE:
        raise NoKey(f"{str(file)!r} holds no whole key; remove it")
    return key
