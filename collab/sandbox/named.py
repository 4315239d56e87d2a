"""The sandboxes by the names that settings give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from collab.sandbox import Sandbox
from collab.sandbox.bubblewrap import Bubblewrap
from collab.sandbox.unsafe import UnsafeSubprocess

SandboxName = Literal["bubblewrap", "unsafe_subprocess"]
"""In a plain subprocess programs have all your rights."""
SANDBOXES: Mapping[SandboxName, Callable[[int | None], Sandbox]] = {
    "bubblewrap": Bubblewrap,
    "unsafe_subprocess": UnsafeSubprocess,
}
