"""The sandboxes by their names in settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from collab.sandbox import Sandbox
from collab.sandbox.bubblewrap import Bubblewrap
from collab.sandbox.unsafe import UnsafeSubprocess

SandboxName = Literal["bubblewrap", "unsafe_subprocess"]
"""With `unsafe_subprocess`, programs have all rights of your user."""
SANDBOXES: Mapping[SandboxName, Callable[[int | None], Sandbox]] = {
    "bubblewrap": Bubblewrap,
    "unsafe_subprocess": UnsafeSubprocess,
}
