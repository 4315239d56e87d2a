"""Tables, figures, the page of a run, exports, and trajectories in colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collab.core.trajectory import LOOKS, Trajectory

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Trajectory"]


def _on_a_terminal(trajectory: Trajectory) -> RenderableType:
    from collab.report.trajectory import render_trajectory

    return render_trajectory(trajectory)


def _in_a_notebook(trajectory: Trajectory) -> str:
    from collab.report.notebook import html

    return html(trajectory)


LOOKS.terminal, LOOKS.notebook = _on_a_terminal, _in_a_notebook
