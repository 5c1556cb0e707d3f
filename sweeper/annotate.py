"""Makes a study pleasant to read in optuna-dashboard: notes in Markdown, artifacts, our figures under fixed ids.

Everything here is for people; nothing reads it back. A note that a person has written or changed stays as it is.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import select

from sweeper.folder import CONFIG_FILE, LOG_FILE, VIDEO_FILE, newest_checkpoint
from sweeper.formatting import format_count, format_number, format_seconds, format_value
from sweeper.records import TrialState
from sweeper.store.dashboard_rows import Shelf, write_artifacts, write_notes
from sweeper.store.tables import TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from sweeper.records import Trial, Value
    from sweeper.report.study_view import StudyView
    from sweeper.store import StoredStudy

FIGURE_IDS = {"pareto": "puffer-sweep-pareto", "importance": "puffer-sweep-importance"}
_TITLES = {"pareto": "Score over cost", "importance": "What matters"}
CHECKPOINT_FILE = "checkpoint.pt"
"""The name under which the dashboard shows a trial's newest checkpoint."""

STUDY_FILES = ("report.html", "best.ini")
_TRIAL_FILES = (CONFIG_FILE, LOG_FILE, VIDEO_FILE)
_DESCRIBED = frozenset(TrialState) - {TrialState.RUNNING, TrialState.QUEUED}
_LOG_LINES, _LOG_WIDTH = 15, 200
_VERBS = {TrialState.PAUSED: "Paused with score", TrialState.PRUNED: "Stopped early with score"}


def annotate_study(study: StoredStudy, view: StudyView) -> None:
    """Writes notes, artifacts and figures into the study; no figures where optuna-dashboard is not installed.

    Args:
        study: no sweep runs on it now.
        view: the same study, as the report sees it.
    """
    with study.engine.begin() as connection:
        annotate_trials(connection, study, view.trials, view.written)
        write_notes(connection, study.study_id, {None: study_note(view)})
    if find_spec("optuna_dashboard") is None:
        return
    from optuna_dashboard import save_plotly_graph_object

    from sweeper.report import figures

    for name, figure_id in FIGURE_IDS.items():
        figure = getattr(figures, name)(view)
        figure.update_layout(title_text=_TITLES[name], margin={"t": 90})
        save_plotly_graph_object(study.optuna_study, figure, graph_object_id=figure_id)


def annotate_trials(
    connection: Connection, study: StoredStudy, trials: Iterable[Trial], written: Mapping[str, Value]
) -> None:
    """Notes and artifacts of the trials that have ended or paused, and the artifacts of the study.

    Args:
        connection: in a transaction; the database's only writer.
        study: whose trials these are.
        trials: all or some.
        written: the values of the config as written.
    """
    query = select(TRIALS.c.uuid, TRIALS.c.trial_id).where(TRIALS.c.study_uuid == study.uuid)
    ids = {row.uuid: row.trial_id for row in connection.execute(query)}
    described = [trial for trial in trials if trial.state in _DESCRIBED and trial.uuid in ids]
    write_notes(
        connection, study.study_id, {ids[trial.uuid]: trial_note(trial, written) for trial in described}
    )
    files = tuple(name for name in STUDY_FILES if (study.folder / name).is_file())
    shelves = {ids[trial.uuid]: shelf_of(study, trial) for trial in described}
    write_artifacts(connection, study.study_id, Shelf(study.uuid, files), shelves)


class LiveAnnotations:
    """Keeps notes and artifacts up to date while a sweep runs.

    Args:
        study: that it runs on.
        written: the values of the config as written.
        write: puts a function of a connection into the next transaction of the one thread that writes.
    """

    def __init__(
        self,
        study: StoredStudy,
        written: Mapping[str, Value],
        write: Callable[[Callable[[Connection], None]], None],
    ) -> None:
        self._study = study
        self._written = written
        self._write = write
        self._told: dict[str, tuple[TrialState, int]] = {}

    def look(self, trials: Iterable[Trial]) -> None:
        """Describe the trials of which there is something new to say."""
        news = []
        for trial in trials:
            if trial.state not in _DESCRIBED:
                continue
            state = (trial.state, trial.agent_steps)
            if self._told.get(trial.uuid) != state:
                self._told[trial.uuid] = state
                news.append(trial)
        if news:
            self._write(lambda connection: annotate_trials(connection, self._study, news, self._written))


def shelf_of(study: StoredStudy, trial: Trial) -> Shelf:
    """The artifacts that there are of a trial."""
    folder = study.trial_folder(trial.number)
    names = [name for name in _TRIAL_FILES if (folder / name).is_file()]
    if newest_checkpoint(folder) is not None:
        names.append(CHECKPOINT_FILE)
    return Shelf(trial.uuid, tuple(names))


def artifact_path(folder: Path, filename: str) -> Path | None:
    """The file of a trial's or a study's folder that an artifact stands for; None if it is not there (any more)."""
    if filename == CHECKPOINT_FILE:
        return newest_checkpoint(folder)
    known = filename in (*_TRIAL_FILES, *STUDY_FILES)
    return folder / filename if known and (folder / filename).is_file() else None


def study_note(view: StudyView) -> str:
    """The summary of a report in Markdown."""
    from sweeper.report.summary import summarise

    paragraphs = [f"**{paragraph.title}.** {_escaped(paragraph.text)}" for paragraph in summarise(view)]
    return "\n\n".join([f"# {_escaped(view.name)}", *paragraphs])


def trial_note(trial: Trial, written: Mapping[str, Value]) -> str:
    """What a trial changed, what it came to, and why it failed if it did, in Markdown."""
    lines = []
    if trial.failure_message:
        word = "Infeasible" if trial.state is TrialState.INFEASIBLE else "Failed"
        lines += [f"**{word}:** {_escaped(trial.failure_message.strip())}", ""]
    if trial.score is not None:
        spent = f"{format_seconds(trial.cost_seconds)}, {format_count(trial.agent_steps)} steps"
        lines += [f"{_VERBS.get(trial.state, 'Score')} **{format_number(trial.score)}** after {spent}.", ""]
    changed = {name: value for name, value in trial.values.items() if written.get(name) != value}
    if not changed:
        lines.append("The config as written.")
    else:
        lines += ["| changed | as written | here |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {_escaped(format_value(written.get(name, '–')))} | {_escaped(format_value(value))} |"
            for name, value in changed.items()
        ]
    log = str(trial.attributes.get("log_tail") or "").strip()
    if trial.state is TrialState.FAILED and log:
        quoted = [f"    {line[:_LOG_WIDTH]}" for line in log.splitlines()[-_LOG_LINES:]]
        lines += ["", "The end of its log:", "", *quoted]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    for sign in "\\`*_<>[]|":
        text = text.replace(sign, f"\\{sign}")
    return text
