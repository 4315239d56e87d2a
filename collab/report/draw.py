"""Draw figures with matplotlib (extra `report`) as PNG and SVG, with the values of the page.

Series differ in colour, mark and dash, in colours that colour-blind readers can tell apart (Okabe &
Ito 2008). The SVG has a description of the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collab.core.release import extra
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
MOST_TICKS = 8
"""The most points that each have a tick."""
SUFFIXES = (".png", ".svg")


def draw(figure: Figure, folder: Path) -> list[Path]:
    """Write one figure into a folder, as PNG and SVG.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    return draw_panels([figure], folder / figure.key, figure.alt)


def draw_panels(panels: Sequence[Figure], where: Path, alt: str) -> list[Path]:
    """Write several figures side by side on one scale of per cent, as PNG and SVG.

    Args:
        panels: From left to right.
        where: The file's path without its suffix.
        alt: A description in words.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise ConfigError(f"figures need matplotlib: {extra('report')}") from None
    canvas = Canvas(figsize=(6.4 * len(panels), 4.0), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for at, panel in zip(axes, panels, strict=True):
        _panel(panel, at)
        at.label_outer(remove_inner_ticks=False)
    where.parent.mkdir(parents=True, exist_ok=True)
    written = [where.with_name(where.name + suffix) for suffix in SUFFIXES]
    for path in written:
        about = {"Description": alt, **({"Date": None} if path.suffix == ".svg" else {})}
        canvas.savefig(path, dpi=160, metadata=about)
    return written


def _panel(figure: Figure, axes: Axes) -> None:
    xs = list(dict.fromkeys(p.x for one in figure.series for p in one.points))
    named = any(isinstance(x, str) for x in xs)
    places = {x: float(n) if named else float(x) for n, x in enumerate(xs)}
    wide = max(places.values(), default=0) - min(places.values(), default=0)
    curves = [one for one in figure.series if one.joined and one.marked]
    for number, series in enumerate(figure.series):
        aside = (number - (len(curves) - 1) / 2) * 0.006 * wide if series in curves else 0.0
        _curve(series, number, axes, [places[p.x] + aside for p in series.points])
    if named or (curves and len(xs) <= MOST_TICKS):
        axes.set_xticks(list(places.values()), [x if isinstance(x, str) else f"{x:g}" for x in xs])
    axes.set_title(figure.title, loc="left", fontsize=11, parse_math=False)
    axes.set_xlabel(figure.x)
    axes.set_ylabel(figure.y)
    axes.set_ylim(-2, 102)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(frameon=False, fontsize=9)
    if not curves:  # single points may be anywhere
        legend.set_loc("center left")
        legend.set_bbox_to_anchor((1, 0.5))


def _curve(series: Series, number: int, axes: Axes, xs: Sequence[float]) -> None:
    colour, _, dash = LOOKS[number % len(LOOKS)]
    mark = LOOKS[(number + number // len(LOOKS)) % len(LOOKS)][1]
    points = series.points
    if not series.marked:
        ys = [p.y for p in points]
        axes.plot(xs, ys, label=series.name, color="0.6", linewidth=4, alpha=0.5, zorder=0)
        return
    axes.errorbar(
        xs,
        [p.y for p in points],
        yerr=[[max(p.y - p.low, 0) for p in points], [max(p.high - p.y, 0) for p in points]],
        label=series.name.replace("$", r"\$"),
        color=colour,
        marker=mark,
        linestyle=dash if series.joined else "none",
        capsize=2,
        elinewidth=1,
    )
