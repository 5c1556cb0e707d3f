"""A study for notebooks and scripts: its trials as data, its figures, its best config, its report."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import SweepError
from sweeper.export import choose_trial, export_trial, trial_config
from sweeper.store import DEFAULT_STORAGE, open_store
from trainer.errors import MissingExtraError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sweeper.records import Trial
    from sweeper.report import StudyView
    from sweeper.store import StoredStudy
    from trainer.config import Config

FIGURES = (
    "pareto",
    "history",
    "learning_curves",
    "importance",
    "effect",
    "parallel",
    "contour",
    "timeline",
    "repeats",
)


class Study:
    """A study as it stands whenever something is asked of it.

    Args:
        stored: the study in its store.
    """

    def __init__(self, stored: StoredStudy) -> None:
        self.stored = stored

    def __repr__(self) -> str:
        info = self.stored.info()
        best = "no complete trial" if info.best_score is None else f"best {info.best_score:.6g}"
        return f"<Study {self.name}: {sum(info.counts.values())} trials, {best}>"

    @property
    def name(self) -> str:
        """The study's name."""
        return self.stored.name

    @property
    def trials(self) -> list[Trial]:
        """All trials by number."""
        return self.stored.trials()

    @property
    def best(self) -> Trial:
        """The best complete trial.

        Raises:
            SweepError: there is none yet.
        """
        return choose_trial(self.stored)

    def config(self, number: int | None = None) -> Config:
        """The config of a trial (the best one by default), ready for `trainer.train`.

        Raises:
            SweepError: there is no such trial.
        """
        return trial_config(self.stored, choose_trial(self.stored, number))

    def ini(self, number: int | None = None) -> str:
        """The same as INI text with a header.

        Raises:
            SweepError: there is no such trial.
        """
        return export_trial(self.stored, choose_trial(self.stored, number)).text

    def records(self) -> list[dict[str, Any]]:
        """One flat dictionary a trial: number, state, score, costs, every parameter, failure."""
        return [
            {
                "trial": trial.number,
                "state": trial.state.value,
                "score": trial.score,
                "cost_seconds": trial.cost_seconds,
                "agent_steps": trial.agent_steps,
                **trial.values,
                "seed": trial.attributes.get("seed"),
                "failure": trial.failure_message or None,
            }
            for trial in self.trials
        ]

    def curve_records(self) -> list[dict[str, Any]]:
        """One flat dictionary a point of a learning curve: trial, agent_steps, cost_seconds, score, every metric."""
        numbers = {trial.uuid: trial.number for trial in self.trials}
        return [
            {
                "trial": numbers[uuid],
                "agent_steps": point.agent_steps,
                "cost_seconds": point.cost_seconds,
                "score": point.score,
                **point.metrics,
            }
            for uuid, points in self.stored.curves().items()
            if uuid in numbers
            for point in points
        ]

    def dataframe(self, library: str | None = None) -> Any:
        """`records` as a DataFrame.

        Args:
            library: `pandas` or `polars`; None for whichever is installed.

        Raises:
            MissingExtraError: it is not installed.
        """
        return _dataframe(self.records(), library)

    def curves_dataframe(self, library: str | None = None) -> Any:
        """`curve_records` as a DataFrame; see `dataframe`.

        Raises:
            MissingExtraError: the library is not installed.
        """
        return _dataframe(self.curve_records(), library)

    def view(self) -> StudyView:
        """The study at this moment, as `sweeper.report.figures` takes it."""
        from sweeper.report.from_store import view_of

        return view_of(self.stored)

    def figure(self, name: str) -> go.Figure:
        """One of `FIGURES`, drawn anew.

        Raises:
            SweepError: there is no such figure.
        """
        if name not in FIGURES:
            raise SweepError("There is no such figure.", value=name, rule=f"There are {', '.join(FIGURES)}.")
        from sweeper.report import figures

        figure: go.Figure = getattr(figures, name)(self.view())
        return figure

    def report(self, path: str | Path = "report.html") -> Path:
        """Writes the report and hands back its path.

        Raises:
            SweepError: the file cannot be written.
        """
        from sweeper.results import write_report

        return write_report(self.stored, Path(path))


def open_study(name: str | None = None, storage: str | Path = DEFAULT_STORAGE) -> Study:
    """A study by name, the latest by default.

    Raises:
        StorageError: there is no such database.
        StudyNotFoundError: no such study.
    """
    store = open_store(storage, must_exist=True)
    return Study(store.open(name if name is not None else store.latest()))


def _dataframe(records: list[dict[str, Any]], library: str | None) -> Any:
    chosen = library or next((name for name in ("pandas", "polars") if find_spec(name) is not None), "pandas")
    if chosen not in {"pandas", "polars"}:
        raise SweepError("There is no such library of data frames.", value=library, rule="pandas or polars.")
    if find_spec(chosen) is None:
        raise MissingExtraError(chosen, extra="dataframe", purpose="Data frames")
    if chosen == "pandas":
        import pandas as pd

        return pd.DataFrame.from_records(records)
    import polars as pl

    return pl.DataFrame(records, infer_schema_length=None)
