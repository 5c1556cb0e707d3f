"""Makes a study pleasant to read in optuna-dashboard: notes in Markdown and our own figures under fixed ids.

Everything here is for people; nothing reads it back. Notes that are there already, a person's own among them, stay as
they are.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from sweeper.formatting import format_count, format_number, format_seconds, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweeper.records import Trial, Value
    from sweeper.report.study_view import StudyView
    from sweeper.store import StoredStudy

FIGURE_IDS = {"pareto": "puffer-sweep-pareto", "importance": "puffer-sweep-importance"}
_TITLES = {"pareto": "Score over cost", "importance": "What matters"}
_OWN_MARK = "<!-- written by puffer-sweep -->"


def annotate_study(study: StoredStudy, view: StudyView) -> None:
    """Writes notes and figures into the study; does nothing where optuna-dashboard is not installed.

    Args:
        study: no sweep runs on it now.
        view: the same study, as the report sees it.
    """
    if find_spec("optuna_dashboard") is None:
        return
    from optuna_dashboard import get_note, save_note, save_plotly_graph_object
    from optuna_dashboard._note import note_ver_key, save_note_with_version  # the only way to finished trials

    from sweeper.report import figures

    optuna_study = study.optuna_study
    if _is_ours(get_note(optuna_study)):
        save_note(optuna_study, study_note(view))
    for name, figure_id in FIGURE_IDS.items():
        figure = getattr(figures, name)(view)
        figure.update_layout(title_text=_TITLES[name], margin={"t": 90})
        save_plotly_graph_object(optuna_study, figure, graph_object_id=figure_id)
    snapshots = {trial.number: trial for trial in view.trials}
    known = study.storage.get_study_system_attrs(study.study_id)
    for frozen in optuna_study.get_trials(deepcopy=False):
        snapshot = snapshots.get(frozen.number)
        trial_id = frozen._trial_id  # noqa: SLF001 - Optuna has no public name for it
        if snapshot is not None and frozen.state.is_finished() and note_ver_key(trial_id) not in known:
            body = trial_note(snapshot, view.written)
            save_note_with_version(study.storage, study.study_id, trial_id, 1, body)


def study_note(view: StudyView) -> str:
    """The summary of a report in Markdown."""
    from sweeper.report.summary import summarise

    paragraphs = [f"**{paragraph.title}.** {_escaped(paragraph.text)}" for paragraph in summarise(view)]
    return "\n\n".join([f"# {_escaped(view.name)}", *paragraphs, _OWN_MARK])


def trial_note(trial: Trial, written: Mapping[str, Value]) -> str:
    """What a trial changed, what it came to, and why it failed if it did, in Markdown."""
    lines = []
    if trial.failure_message:
        lines += [f"**Failed:** {_escaped(trial.failure_message.strip())}", ""]
    if trial.score is not None:
        spent = f"{format_seconds(trial.cost_seconds)}, {format_count(trial.agent_steps)} steps"
        lines += [f"Score **{format_number(trial.score)}** after {spent}.", ""]
    changed = {name: value for name, value in trial.values.items() if written.get(name) != value}
    if not changed:
        lines.append("The config as written.")
    else:
        lines += ["| changed | as written | here |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {format_value(written.get(name, '–'))} | {format_value(value)} |"
            for name, value in changed.items()
        ]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    for sign in "\\`*_<>[]|":
        text = text.replace(sign, f"\\{sign}")
    return text


def _is_ours(note: str) -> bool:
    return not note or note.rstrip().endswith(_OWN_MARK)
