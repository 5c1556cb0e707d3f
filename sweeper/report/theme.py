"""The look of every figure: one palette in a light and a dark tone, one Plotly template.

Figures are drawn in the light tones. A page that goes dark replaces each light tone by its dark partner
(`DARK_TONES`), so a figure is stored once. Series are told apart by shape and weight as well as by colour, and the
colours keep their distance under the common kinds of colour blindness (blue, orange, grey, purple; never red against
green).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

import plotly.graph_objects as go

from sweeper.records import TrialState

INK: Final = "#1b2330"
MUTED: Final = "#667084"
FAINT: Final = "#c3cad6"
GRID: Final = "#e8ebf1"
SURFACE: Final = "#fefefe"
BLUE: Final = "#2b6cb0"
ORANGE: Final = "#d9700b"
GREY: Final = "#98a2b3"
RED: Final = "#bb3a4c"
PURPLE: Final = "#8458a8"
TEAL: Final = "#1f8a8a"
BAND: Final = "#fbe7cf"

RUNNERS_UP: Final = ("#2b6cb0", "#1f8a8a", "#8458a8", "#7a6a4f")
"""Colours of the second to the fifth best trial; the best is orange."""

SCALE: Final = ("#e3ebf4", "#b9cfe6", "#86aed6", "#4f86bf", "#2a5f9e", "#143b6b")
"""Low to high, for surfaces and lines coloured by score."""

DARK_TONES: Final = MappingProxyType(
    {
        INK: "#e7eaf0",
        MUTED: "#9aa5b8",
        FAINT: "#3d4759",
        GRID: "#262e3b",
        SURFACE: "#151a23",
        BLUE: "#6da9e4",
        ORANGE: "#f5a04a",
        GREY: "#657086",
        RED: "#ec7f8c",
        PURPLE: "#b994dc",
        TEAL: "#58c2bf",
        BAND: "#46331d",
        RUNNERS_UP[3]: "#c9b78f",
        SCALE[0]: "#1d2735",
        SCALE[1]: "#213a57",
        SCALE[2]: "#295684",
        SCALE[3]: "#3a7cb8",
        SCALE[4]: "#68abe2",
        SCALE[5]: "#bfe0fb",
    }
)

FONT: Final = (
    'Inter, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
)

STATE_COLORS: Final = MappingProxyType(
    {
        TrialState.COMPLETE: BLUE,
        TrialState.PRUNED: GREY,
        TrialState.PAUSED: PURPLE,
        TrialState.FAILED: RED,
        TrialState.INFEASIBLE: RED,
        TrialState.RUNNING: TEAL,
        TrialState.QUEUED: FAINT,
    }
)

STATE_SYMBOLS: Final = MappingProxyType(
    {
        TrialState.COMPLETE: "circle",
        TrialState.PRUNED: "circle-open",
        TrialState.PAUSED: "diamond-open",
        TrialState.FAILED: "x-thin-open",
        TrialState.INFEASIBLE: "x-thin-open",
        TrialState.RUNNING: "triangle-right-open",
        TrialState.QUEUED: "circle-dot",
    }
)

HEIGHT: Final = 380


def colorscale() -> list[list[float | str]]:
    """The sequential scale in Plotly's form."""
    last = len(SCALE) - 1
    return [[index / last, color] for index, color in enumerate(SCALE)]


def new_figure(*, height: int = HEIGHT, legend: bool = True, **layout: Any) -> go.Figure:
    """An empty figure in the house style; `layout` adds to it.

    The title is left to the page: a figure on its own gets one with `figure.update_layout(title_text=…)`.
    """
    figure = go.Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 68, "r": 24, "t": 36 if legend else 16, "b": 54},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": MUTED},
        hoverlabel={
            "bgcolor": SURFACE,
            "bordercolor": FAINT,
            "font": {"family": FONT, "size": 12, "color": INK},
            "align": "left",
        },
        hovermode="closest",
        showlegend=legend,
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 12, "color": MUTED},
            "bgcolor": "rgba(0,0,0,0)",
        },
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": FAINT, "activecolor": MUTED},
    )
    figure.update_xaxes(**axis_style())
    figure.update_yaxes(**axis_style(), automargin=True)
    if layout:
        figure.update_layout(**layout)
    return figure


def axis_style(**more: Any) -> dict[str, Any]:
    """How an axis looks: a light grid, no box, no zero line, its title close by."""
    return {
        "showgrid": True,
        "gridcolor": GRID,
        "gridwidth": 1,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "tickfont": {"size": 12, "color": MUTED},
        "title": {"font": {"size": 13, "color": MUTED}, "standoff": 10},
        **more,
    }


def empty_figure(message: str, *, height: int = 160) -> go.Figure:
    """A figure that says in words why there is nothing to draw yet."""
    figure = new_figure(height=height, legend=False)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        text=message,
        showarrow=False,
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        font={"size": 14, "color": MUTED},
    )
    return figure
