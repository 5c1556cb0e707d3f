"""Fills a `StudyView` from the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper.export import changed_settings, export_trial, study_config
from sweeper.folder import VIDEO_FILE
from sweeper.records import Observation, Trial
from sweeper.repeats import read_repeats
from sweeper.report.study_view import StudyView
from sweeper.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sweeper.records import CurvePoint
    from sweeper.store import StoredStudy

_FACTS = {"versions": ("puffer-sweep", "torch", "python"), "machine": ("host", "processor", "cores")}


def view_of(study: StoredStudy) -> StudyView:
    """The study as it stands now.

    Raises:
        StudyNotFoundError: it has been deleted since it was opened.
    """
    config = study_config(study)
    space = SearchSpace.from_config(config)
    lock = study.lock_info()
    best = study.best()
    exported = None if best is None else export_trial(study, best)
    trials = tuple(study.trials())
    attributes = study.attributes()
    return StudyView(
        name=study.name,
        environment=study.spec.environment,
        parameters=space.parameters,
        trials=trials,
        method=str(config.get("sweep.method")),
        pruner=str(config.get("sweep.pruner")),
        metric=study.spec.metric,
        goal=study.spec.goal,
        objectives=study.spec.objectives,
        cost_name=str(config.get("sweep.cost")),
        device=_device(trials),
        curves={uuid: _observations(points) for uuid, points in study.curves().items()},
        written=space.written,
        best_config="" if exported is None else exported.text,
        best_changes={}
        if exported is None
        else changed_settings(config, exported.config, exported.trial.values),
        running=lock is not None and lock.alive,
        max_runs=study.max_runs,
        repeats=read_repeats(attributes, sign=study.spec.sign),
        facts=_facts(attributes),
        videos={
            trial.number: path
            for trial in trials
            if (path := study.trial_folder(trial.number) / VIDEO_FILE).is_file()
        },
    )


def _facts(attributes: Mapping[str, object]) -> dict[str, object]:
    """What the foot of the report says: versions, machine, commit, command."""
    found: dict[str, object] = {}
    for group, names in _FACTS.items():
        known = attributes.get(group)
        if isinstance(known, dict):
            found |= {name: known[name] for name in names if known.get(name)}
    return found | {name: attributes[name] for name in ("commit", "command") if attributes.get(name)}


def _observations(points: Iterable[CurvePoint]) -> tuple[Observation, ...]:
    return tuple(
        Observation(point.agent_steps, point.cost_seconds, point.score)
        for point in points
        if point.score is not None
    )


def _device(trials: tuple[Trial, ...]) -> str:
    names = {
        str(name) for t in trials if (name := t.attributes.get("device_name") or t.attributes.get("device"))
    }
    return ", ".join(sorted(names))
