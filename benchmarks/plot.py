"""The share of upstream streams that are closed, over the time since their clients hung up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.report import ORDER

if TYPE_CHECKING:
    from pathlib import Path

_PANELS = ("before the head", "before the first event", "mid-stream", "after the terminal event", "half-close")
_COLOURS = {"nginx": "#7a7a7a", "relay": "#0b6e4f", "portkey": "#c8553d", "litellm": "#3c6e9f"}
_AXIS_MS = (0.05, 5000)


def plot_closes(rows: list[dict[str, Any]], path: Path) -> bool:
    """Write the SVG; False where matplotlib is missing. A line that ends below 100 % is a system with streams left."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "relay_trio"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(_PANELS), figsize=(3.1 * len(_PANELS), 3.2), sharey=True)
    for panel, name in zip(panels, _PANELS, strict=True):
        for system in ORDER:
            own = [row for row in rows if row["cell"] == name and row["system"] == system and "latencies_ms" in row]
            reached = sum(row["reached"] for row in own)
            if not reached:
                continue
            latencies = sorted(latency for row in own for latency in row["latencies_ms"])
            shares = [100 * (place + 1) / reached for place in range(len(latencies))]
            times = [max(latency, _AXIS_MS[0]) for latency in latencies]
            end = shares[-1] if shares else 0
            panel.step(
                [_AXIS_MS[0], *times, _AXIS_MS[1]],
                [0, *shares, end],
                where="post",
                color=_COLOURS[system],
                linewidth=2 if system == "relay" else 1.3,
                label=system,
            )
        panel.set_xscale("log")
        panel.set_xlim(*_AXIS_MS)
        panel.set_ylim(-2, 103)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("ms after the client left", fontsize=9)
        panel.grid(visible=True, linewidth=0.3)
    panels[0].set_ylabel("upstream streams closed, %", fontsize=9)
    handles = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if handles:
        panels[0].legend(handles.values(), handles.keys(), fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return True
