"""Figures drawn with matplotlib (extra `report`), as PNG and SVG: the same values as on the page.

Authors of a figure differ in colour, mark and dash; the colours are told apart by colour-blind
readers too (Okabe & Ito 2008). What a figure shows goes into the SVG as its description.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collab.errors import ConfigError
from collab.report.figure import Figure, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", ":"),
    ("#CC79A7", "D", "-."),
    ("#7A6A00", "v", (0, (6, 2))),
    ("#444B57", "P", (0, (1, 2))),
)
SUFFIXES = (".png", ".svg")


def draw(figure: Figure, folder: Path) -> list[Path]:
    """Write one figure into a folder, as PNG and SVG.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    return draw_panels([figure], folder / figure.key, figure.alt)


def draw_panels(panels: Sequence[Figure], where: Path, alt: str) -> list[Path]:
    """Write several figures side by side, on one scale of per cent, as PNG and SVG.

    Args:
        panels: From left to right.
        where: The file's path without its suffix.
        alt: What they show, in words.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise ConfigError("figures need matplotlib: pip install 'collab[report]'") from None
    canvas = Canvas(figsize=(6.4 * len(panels), 4.0), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for at, panel in zip(axes, panels, strict=True):
        _panel(panel, at)
    where.parent.mkdir(parents=True, exist_ok=True)
    written = [where.with_name(where.name + suffix) for suffix in SUFFIXES]
    for path in written:
        about = {"Description": alt, **({"Date": None} if path.suffix == ".svg" else {})}
        canvas.savefig(path, dpi=160, metadata=about)
    return written


def _panel(figure: Figure, axes: Axes) -> None:
    names = list(dict.fromkeys(p.x for one in figure.series for p in one.points))
    named = any(isinstance(name, str) for name in names)
    for number, series in enumerate(figure.series):
        _curve(series, number, axes, names if named else None)
    if named:
        axes.set_xticks(range(len(names)), [str(name) for name in names])
    axes.set_title(figure.title, loc="left", fontsize=11, parse_math=False)
    axes.set_xlabel(figure.x)
    axes.set_ylabel(figure.y)
    axes.set_ylim(-2, 102)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def _curve(series: Series, number: int, axes: Axes, names: Sequence[float | str] | None) -> None:
    colour, mark, dash = LOOKS[number % len(LOOKS)]
    points = series.points
    if not series.marked:
        xs, ys = [float(p.x) for p in points], [p.y for p in points]
        axes.plot(xs, ys, label=series.name, color="0.6", linewidth=4, alpha=0.5, zorder=0)
        return
    axes.errorbar(
        [names.index(p.x) if names else float(p.x) for p in points],
        [p.y for p in points],
        yerr=[[max(p.y - p.low, 0) for p in points], [max(p.high - p.y, 0) for p in points]],
        label=series.name.replace("$", r"\$"),
        color=colour,
        marker=mark,
        linestyle=dash if series.joined else "none",
        capsize=2,
        elinewidth=1,
    )
