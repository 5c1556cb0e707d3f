"""The report: one HTML file with everything inside, made from a `StudyView`.

It makes no network request (a Content-Security-Policy forbids it), Plotly is in it once, compressed, and every name
that came from a user is escaped: by Jinja in the text, by `hover` in the figures, by the page's script in the table.
"""

from __future__ import annotations

import base64
import gzip
import json
import time
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from plotly.offline import get_plotlyjs

from sweeper.formatting import (
    format_count,
    format_number,
    format_seconds,
    format_time,
    format_value,
)
from sweeper.records import TrialState
from sweeper.report import compare, figures
from sweeper.report.films import LARGEST_PAGE_BYTES, film_inside, film_links
from sweeper.report.response import response_of
from sweeper.report.summary import summarise
from sweeper.report.table import trial_table
from sweeper.report.theme import DARK_TONES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

    from sweeper.report.study_view import StudyView

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure in its card."""

    id: str
    figure: go.Figure
    title: str = ""
    note: str = ""

    @property
    def height(self) -> int:
        """Pixels, as the figure wants them."""
        return int(self.figure.layout.height or 360)

    @property
    def min_width(self) -> int:
        """Pixels below which it becomes illegible, so that its card scrolls; 0 where it fits everywhere."""
        meta = self.figure.layout.meta
        return int(meta["min_width"]) if meta else 0


@dataclass(frozen=True, slots=True)
class PageSection:
    """A heading, a caption and some figures side by side."""

    id: str
    menu: str
    title: str
    caption: str
    drawings: list[Drawing] = field(default_factory=list)
    layout: str = "one"


@dataclass(frozen=True, slots=True)
class Tile:
    """A key fact at the top of the page."""

    label: str
    value: str
    detail: str


def render_page(study: StudyView, *, refresh_seconds: int | None = None, folder: Path | None = None) -> str:
    """The whole page.

    Args:
        study: what to report.
        refresh_seconds: let the page load itself anew so often, for a report that is rebuilt while a sweep runs.
        folder: where the page will lie, so that it can link films with a relative address.
    """
    sections = page_sections(study)
    values = {
        **_with_figures([drawing for section in sections for drawing in section.drawings]),
        "study": study,
        "tiles": _tiles(study),
        "summary": summarise(study),
        "sections": sections,
        "table": _inert(json.dumps(trial_table(study), separators=(",", ":"), allow_nan=False)),
        "table_js": _read("table.js"),
        "changes": _changes(study.best_changes),
        "facts": [f"{name}: {value}" for name, value in study.facts.items()],
        "refresh_seconds": refresh_seconds,
        "inside": None,
        "videos": film_links(study, folder),
    }
    page: str = _template("page.html.j2").render(values)
    inside = film_inside(study, LARGEST_PAGE_BYTES - len(page.encode()))
    return page if inside is None else _template("page.html.j2").render({**values, "inside": inside})


def render_comparison(studies: Sequence[StudyView]) -> str:
    """A page that puts studies side by side."""
    drawings = [
        Drawing("compare-pareto", compare.pareto(studies), "Score over cost"),
        Drawing("compare-progress", compare.progress(studies), "Best so far"),
    ]
    page: str = _template("compare.html.j2").render(
        **_with_figures(drawings),
        names=[study.name for study in studies],
        drawings=drawings,
        rows=compare.compared_rows(studies),
    )
    return page


def _with_figures(drawings: Sequence[Drawing]) -> dict[str, Any]:
    """What every page with figures needs."""
    hovers: dict[str, int] = {}
    return {
        "figures": {
            drawing.id: _inert(
                json.dumps(_share_hovers(drawing.figure, hovers), separators=(",", ":"), allow_nan=False)
            )
            for drawing in drawings
        },
        "hovers": _inert(json.dumps(list(hovers))),
        "tones": _inert(json.dumps(dict(DARK_TONES))),
        "plotly": _packed_plotly(),
        "figures_js": _read("figures.js"),
        "css": _read("page.css"),
        "made_at": format_time(time.time()),
        "version": _version(),
    }


def page_sections(study: StudyView) -> list[PageSection]:
    """The report's figures in their order, each with the words around it."""
    sections = [
        PageSection(
            "search",
            "Search",
            "The search",
            "Score over cost: no trial beats those on the dark line in both"
            f"{', and that line is what was searched for' if study.wants_front else ''}. "
            "History: how the best score grew with the number of trials.",
            [
                Drawing("pareto", figures.pareto(study), "Score over cost"),
                Drawing("history", figures.history(study), "Optimisation history"),
            ],
            "two",
        ),
        PageSection(
            "curves",
            "Curves",
            "Learning curves",
            "The best trial is drawn bold. Trials that end early were stopped because others did better at that point.",
            [Drawing("learning-curves", figures.learning_curves(study))],
        ),
    ]
    if study.repeats:
        sections.append(
            PageSection(
                "repeats",
                "Repeats",
                "Leaders with fresh seeds",
                "Each tick is one training run; bars are 95 % bootstrap intervals of the mean. Where a diamond lies "
                "outside its bar, luck had a hand in the sweep's score.",
                [Drawing("repeats", figures.repeats(study))],
            )
        )
    sections.append(
        PageSection(
            "importance",
            "Importance",
            "What matters",
            f"How much of the score's variation each parameter explains {_among(study)}. fANOVA asks about "
            "the whole space, PED-ANOVA about what sets the best trials apart.",
            [Drawing("importance", figures.importance(study))],
        )
    )
    effects = figures.effects(study)
    if effects:
        sections.append(
            PageSection(
                "effects",
                "Effects",
                "Main effects",
                f"Each parameter on the axis it was searched on, {_among(study)}. Dots are trials, the line is the "
                f"mean score a random forest expects, the shaded band holds {_best_few(study)}, the star is the "
                "best trial.",
                [
                    Drawing(f"effect-{index}", effect, name.rpartition(".")[2], name.rpartition(".")[0])
                    for index, (name, effect) in enumerate(effects.items())
                ],
                "three",
            )
        )
    sections += [
        PageSection(
            "combinations",
            "Combinations",
            "Combinations",
            "Each trial is a line through its parameters: the stronger its blue the better, the best is orange. Below, "
            f"the score a random forest expects over the two most important parameters, {_among(study)}.",
            [
                Drawing("parallel", figures.parallel(study), "Parallel coordinates"),
                Drawing("contour", figures.contour(study), "The most important pair"),
            ],
        ),
        PageSection(
            "timeline",
            "Timeline",
            "Timeline",
            "What each slot did when.",
            [Drawing("timeline", figures.timeline(study))],
        ),
    ]
    return sections


def _best_few(study: StudyView) -> str:
    response = response_of(study)
    count = 0 if response is None else len(response.best_rows(study.sign))
    return "the best three" if count == 3 else f"the best tenth ({count} trials)"


def _among(study: StudyView) -> str:
    response = response_of(study)
    if response is None or response.at_steps is None:
        return "among the complete trials"
    reached = format_count(response.at_steps)
    return f"among the {len(response.trials)} trials that reached {reached} steps, by their score there"


def _tiles(study: StudyView) -> list[Tile]:
    best = study.best
    ended = len(study.in_state(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.PAUSED))
    early = len(study.in_state(TrialState.PRUNED, TrialState.PAUSED))
    failed = len(study.in_state(TrialState.FAILED))
    seconds = sum(trial.cost_seconds for trial in study.trials)
    steps = sum(trial.agent_steps for trial in study.trials)
    mean_cost = seconds / ended if ended else None
    rates = [rate for trial in study.trials if (rate := trial.steps_per_second) is not None]
    return [
        Tile(
            f"Best {study.metric_label}",
            format_number(best.score) if best else "–",
            f"trial {best.number}, {format_seconds(best.cost_seconds)}" if best else "no complete trial yet",
        ),
        Tile(
            "Trials",
            f"{len(study.trials)}",
            ", ".join(
                f"{count} {word}"
                for count, word in (
                    (len(study.complete), "complete"),
                    (early, "cut short"),
                    (failed, "failed"),
                )
                if count
            ),
        ),
        Tile("Training time", format_seconds(seconds), f"{format_seconds(mean_cost)} a trial"),
        Tile("Agent steps", format_count(steps), "in all trials"),
        Tile(
            "Steps per second",
            format_count(sorted(rates)[len(rates) // 2]) if rates else "–",
            "median trial",
        ),
    ]


def _changes(changes: Mapping[str, tuple[object, object]]) -> list[dict[str, str]]:
    return [
        {"name": name, "before": format_value(before), "after": format_value(after)}
        for name, (before, after) in changes.items()
    ]


def _share_hovers(figure: go.Figure, hovers: dict[str, int]) -> dict[str, Any]:
    """The figure as JSON data, with each hover text replaced by its place in a list that all figures share."""
    content: dict[str, Any] = json.loads(figure.to_json() or "{}")
    for trace in content["data"]:
        texts = trace.get("hovertext")
        if isinstance(texts, list):
            trace["hovertext"] = [hovers.setdefault(text, len(hovers)) for text in texts]
    return content


def _inert(text: str | None) -> str:
    """JSON that can stand inside a script element whatever its strings hold."""
    return (text or "null").replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _packed_plotly() -> str:
    """Plotly's script, five megabytes, as two: gzip in base64, which the page unpacks."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


@lru_cache(maxsize=2)
def _template(name: str) -> Any:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _version() -> str:
    try:
        return version("puffer-sweep")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "(not installed)"
