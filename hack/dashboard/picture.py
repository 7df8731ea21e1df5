"""A Grafana dashboard drawn with matplotlib: each panel at its place, with what Prometheus answers to its queries."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from itertools import cycle
from math import nan
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, HourLocator
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import ScaledTranslation, Transform
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hack.dashboard.source import SOURCE, digest
from tests.system.prometheus import PrometheusServer

__all__ = ["draw"]

Body = dict[str, Any]
Series = tuple[str, list[tuple[datetime, float]]]

STEP_S: Final = 60.0
LEGEND: Final = 6
"""Series that a legend has room for."""
LONG_LABEL: Final = 30
ROW: Final = 0.34
"""Inches of a row of Grafana's grid; its width has 24 columns."""
COLUMN: Final = 0.58
GROUND, PANEL, INK, FAINT = "#f4f5f5", "#ffffff", "#24292e", "#c7ccd1"
COLOURS: Final = ("#3274d9", "#e0752d", "#37872d", "#c4162a", "#8f3bb8", "#b8860b", "#1f8a8a", "#6b6f76")
STEPS: Final = {"text": INK, "green": COLOURS[2], "red": COLOURS[3]}
"""Grafana's names of the colours of thresholds."""
_UNITS: Final[dict[str, Callable[[float], str]]] = {
    "currencyUSD": lambda value: f"${value:.2f}",
    "percentunit": lambda value: f"{100 * value:.3g} %",
    "s": lambda value: f"{value:.3g} s" if value >= 0.1 or value == 0 else f"{1000 * value:.3g} ms",
    "reqps": lambda value: f"{value:.3g}/s",
    "ops": lambda value: f"{value:.3g}/s",
    "short": lambda value: f"{value:,.5g}",
}


def draw(dashboard: Body, server: PrometheusServer, start: float, end: float, file: Path) -> None:
    """Draw a dashboard over the time between two moments, in seconds since 1970."""
    mpl.rcParams |= {"font.size": 7, "text.color": INK, "axes.edgecolor": FAINT}
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = Figure(figsize=(24 * COLUMN, rows * ROW), facecolor=GROUND, dpi=100)
    drawing = _Drawing(figure, server, start, end)
    for panel in dashboard["panels"]:
        drawing.draw(panel)
    drawn = BytesIO()
    figure.savefig(drawn, facecolor=GROUND)
    notes = PngInfo()
    notes.add_text(SOURCE, digest(dashboard))
    Image.open(drawn).convert("RGB").quantize(128).save(file, "PNG", optimize=True, pnginfo=notes)


@dataclass
class _Drawing:
    """A figure, and who answers the queries of its panels."""

    figure: Figure
    server: PrometheusServer
    start: float
    end: float

    def draw(self, panel: Body) -> None:
        """Draw a panel at its place."""
        axes = self._axes(panel, 0.06, 0.05, 0.06, 0.05)
        axes.set(xticks=[], yticks=[], facecolor=PANEL)
        axes.text(0.1, -0.1, panel["title"], fontsize=8, fontweight="bold", va="top", transform=self._corner(axes))
        kinds = {"stat": self._stat, "table": self._table, "timeseries": self._timeseries}
        kinds[panel["type"]](axes, panel)

    def _axes(self, panel: Body, left: float, bottom: float, right: float, top: float) -> Axes:
        """Return axes inside a panel, so many inches from its edges."""
        place, (width, height) = panel["gridPos"], self.figure.get_size_inches()
        x, y = place["x"] * COLUMN + left, height - (place["y"] + place["h"]) * ROW + bottom
        w, h = place["w"] * COLUMN - left - right, place["h"] * ROW - bottom - top
        return self.figure.add_axes((x / width, y / height, w / width, h / height))

    def _corner(self, axes: Axes) -> Transform:
        """Return inches from the upper left corner of axes."""
        return self.figure.dpi_scale_trans + ScaledTranslation(0, 1, axes.transAxes)

    def _stat(self, axes: Axes, panel: Body) -> None:
        (target,) = panel["targets"]
        found = self.server.at(_plain(target["expr"]), self.end)
        value = float(found[0]["value"][1]) if found else nan
        words = _words(panel, value) if found else "No data"
        style = {"fontsize": 20, "ha": "center", "va": "center", "color": _colour(panel, value)}
        axes.text(0.5, 0.38, words, transform=axes.transAxes, **style)

    def _table(self, axes: Axes, panel: Body) -> None:
        (target,) = panel["targets"]
        hidden = panel["transformations"][0]["options"]["excludeByName"]
        found = [one["metric"] for one in self.server.at(_plain(target["expr"]), self.end)]
        columns = [name for name in (found or [{}])[0] if name not in hidden]
        for row, words in enumerate([columns, *([one[name] for name in columns] for one in found)]):
            for column, word in enumerate(words):
                place = (0.1 + column * 2, -0.45 - 0.25 * row)
                axes.text(*place, word, fontweight="normal" if row else "bold", transform=self._corner(axes))

    def _timeseries(self, axes: Axes, panel: Body) -> None:
        found = [one for target in panel["targets"] for one in self._series(target)]
        if not found:
            axes.text(0.5, 0.5, "No data", ha="center", color=FAINT, fontsize=10, transform=axes.transAxes)
            return
        plot = self._axes(panel, 0.5, 0.5, 0.26, 0.37)
        plot.set_facecolor("none")
        plot.spines[["top", "right", "left"]].set_visible(False)
        for (label, points), colour in zip(found, cycle(COLOURS), strict=False):
            plot.plot(*zip(*points, strict=True), color=colour, linewidth=0.9, label=label)
        plot.set_xlim(*(datetime.fromtimestamp(moment, UTC) for moment in (self.start, self.end)))
        plot.xaxis.set(major_locator=HourLocator(), major_formatter=DateFormatter("%H:%M"))
        plot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _unit(panel)(value)))
        plot.tick_params(colors=INK, length=0, labelsize=6)
        plot.grid(axis="y", color=FAINT, linewidth=0.4)
        if plot.get_ylim()[0] >= 0:
            plot.set_ylim(0, plot.get_ylim()[1] * 1.05)
        columns = min(3, len(found)) if max(len(label) for label, _ in found) < LONG_LABEL else 1
        style = {"fontsize": 5.5, "frameon": False, "handlelength": 1, "columnspacing": 1, "borderaxespad": 0.2}
        axes.legend(handles=plot.lines[:LEGEND], loc="lower center", ncol=columns, labelspacing=0.2, **style)

    def _series(self, target: Body) -> list[Series]:
        found = []
        moments = [self.start + STEP_S * step for step in range(round((self.end - self.start) / STEP_S) + 1)]
        for one in self.server.between(_plain(target["expr"]), self.start, self.end, STEP_S):
            known = {at: float(value) for at, value in one["values"]}
            points = [(datetime.fromtimestamp(at, UTC), known.get(at, nan)) for at in moments]
            label = target["legendFormat"]
            for name, value in one["metric"].items():
                label = label.replace(f"{{{{{name}}}}}", value)
            found.append((label, points))
        return sorted(found)


def _plain(query: str) -> str:
    """Return a query with Grafana's variable for all namespaces in it."""
    return query.replace("$namespace", ".*")


def _words(panel: Body, value: float) -> str:
    """Return a value as its panel shows it: by its mapping, else by its unit."""
    mappings = panel["fieldConfig"]["defaults"].get("mappings", ())
    texts = {key: shown["text"] for mapping in mappings for key, shown in mapping["options"].items()}
    return texts.get(f"{value:g}") or _unit(panel)(value)


def _colour(panel: Body, value: float) -> str:
    """Return the colour of the last threshold that a value reaches."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return STEPS[[step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]]


def _unit(panel: Body) -> Callable[[float], str]:
    return _UNITS[panel["fieldConfig"]["defaults"]["unit"]]
