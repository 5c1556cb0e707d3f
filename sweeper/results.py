"""What a sweep leaves in its study's folder when it ends: the report and the best config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.export import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from sweeper.store import StoredStudy

REPORT_FILE = "report.html"
BEST_FILE = "best.ini"


@dataclass(frozen=True, slots=True)
class Results:
    """Where things lie; `best` is None while no trial is complete."""

    report: Path
    best: Path | None


def write_results(study: StoredStudy) -> Results:
    """Writes report.html and, where a trial is complete, best.ini into the study's folder, and notes into the study.

    Raises:
        SweepError: a file cannot be written.
    """
    from sweeper.annotate import annotate_study
    from sweeper.report.from_store import view_of
    from sweeper.report.page import render_page

    view = view_of(study)
    best = None
    if view.best_config:
        best = study.folder / BEST_FILE
        write_file(best, view.best_config)
    report = study.folder / REPORT_FILE
    write_file(report, render_page(view, folder=report.parent))
    annotate_study(study, view)
    return Results(report, best)


def refresh_dashboard(study: StoredStudy) -> None:
    """Lists a study's artifacts for the dashboard again, unless a sweep runs, which does that by itself."""
    from sweeper.annotate import annotate_trials
    from sweeper.export import study_config
    from sweeper.space import SearchSpace

    lock = study.lock_info()
    if lock is not None and lock.alive:
        return
    written = SearchSpace.from_config(study_config(study)).written
    with study.engine.begin() as connection:
        annotate_trials(connection, study, study.trials(), written)


def write_report(study: StoredStudy, path: Path, *, refresh_seconds: int | None = None) -> Path:
    """Writes the report of a study, whole or not at all.

    Raises:
        SweepError: the file cannot be written.
    """
    from sweeper.report.from_store import view_of
    from sweeper.report.page import render_page

    write_file(path, render_page(view_of(study), refresh_seconds=refresh_seconds, folder=path.parent))
    return path
