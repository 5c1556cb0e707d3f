"""How much of the score's variation each parameter explains, by two methods side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.report.response import FEWEST_TRIALS, response_of
from sweeper.report.theme import BLUE, SCALE, empty_figure, new_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sweeper.report.study_view import StudyView

_MOST = 20


def figure(study: StudyView) -> go.Figure:
    """Bars of PED-ANOVA and fANOVA, the most important parameter on top."""
    response = response_of(study)
    if response is None:
        return empty_figure(f"Importance needs at least {FEWEST_TRIALS} trials that can be compared.")
    names = response.importances.ordered()[:_MOST][::-1]
    if not names:
        return empty_figure("All trials score the same, or only one parameter varies.")
    importances = response.importances
    drawing = new_figure(height=110 + 34 * len(names), barmode="group", bargap=0.35, bargroupgap=0.08)
    for title, shares, color in (
        ("fANOVA", importances.fanova, SCALE[2]),
        ("PED-ANOVA", importances.ped_anova, BLUE),
    ):
        if shares:
            drawing.add_bar(
                orientation="h",
                y=names,
                x=[shares.get(name, 0.0) for name in names],
                name=title,
                marker={"color": color, "line": {"width": 0}},
                hovertemplate="%{y}<br>" + title + ": %{x:.1%}<extra></extra>",
            )
    drawing.update_layout(legend={"traceorder": "reversed"})
    drawing.update_xaxes(tickformat=".0%", rangemode="tozero", title_text="share of the score's variation")
    drawing.update_yaxes(showgrid=False, ticksuffix="  ")
    return drawing
