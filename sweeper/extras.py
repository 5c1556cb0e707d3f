"""What `[sweep] enqueue` and `warm_start` name: configurations to try first, trials of other studies to learn from."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import SweepError
from sweeper.records import Suggestion, Trial, TrialState
from sweeper.space import SearchSpace
from sweeper.store import open_store
from trainer.config import load_config_file
from trainer.config.names import normalise_name
from trainer.config.values import parse_value
from trainer.errors import Place

if TYPE_CHECKING:
    from trainer.config import Config


@dataclass(frozen=True, slots=True)
class Extras:
    """What a sweep can be given beside its config.

    Attributes:
        enqueued: configurations to try first, inside the space.
        earlier: trials of other studies to learn from, values inside the space.
    """

    enqueued: tuple[Suggestion, ...] = ()
    earlier: tuple[Trial, ...] = ()


_TELLING = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED)


def gather_extras(config: Config, storage: str | Path) -> tuple[Extras, tuple[str, ...]]:
    """What the config names, and sentences about what had to be moved or left out.

    Raises:
        ConfigError: a file or a setting to enqueue is not valid.
        SweepError: a setting to enqueue is not searched, a study to start from is not there, or none of its trials
            lies in the space.
    """
    space = SearchSpace.from_config(config)
    notes: list[str] = []
    enqueued = tuple(_suggestion(name, config, space, notes) for name in config.sweep.enqueue)
    earlier: list[Trial] = []
    for name in config.sweep.warm_start:
        earlier += _trials_of(name, storage, space, notes)
    return Extras(enqueued, tuple(earlier)), tuple(notes)


def _suggestion(name: str, config: Config, space: SearchSpace, notes: list[str]) -> Suggestion:
    if "=" in name and not Path(name).is_file():
        other = _written_out(name, config, space)
    else:
        other = load_config_file(Path(name), env_name=config.base.env_name).values_by_name()
    values: dict[str, Any] = {
        parameter: other.get(parameter, config.get(parameter)) for parameter in space.names
    }
    clipped = space.clip(values)
    notes += [f"{name}: {note}" for note in clipped.notes]
    return Suggestion(clipped.values, "enqueued")


def _written_out(text: str, config: Config, space: SearchSpace) -> dict[str, Any]:
    """The config that `train.gamma=0.98 train.ent_coef=0.01` stands for; what it does not name is as written."""
    values: dict[str, Any] = {}
    for word in text.split():
        written, _, value = word.partition("=")
        name = normalise_name(written)
        if name not in space.names:
            near = difflib.get_close_matches(name, space.names, n=1)
            raise SweepError(
                f"{written} is not searched, so no trial can have a value of its own for it.",
                place=Place(section="sweep", key="enqueue"),
                value=text,
                rule=f"Searched are {', '.join(space.names)}.",
                remedy=f"Did you mean {near[0]}?"
                if near
                else "Leave it out, or give it a section of its own.",
            )
        values[name] = parse_value(value)
    return config.override(values).values_by_name()


def _trials_of(name: str, storage: str | Path, space: SearchSpace, notes: list[str]) -> list[Trial]:
    place = Place(section="sweep", key="warm_start")
    study = open_store(storage, must_exist=True).open(name)
    told = [trial for trial in study.trials() if trial.state in _TELLING and trial.score is not None]
    inside = []
    for trial in told:
        values = {parameter: trial.values.get(parameter) for parameter in space.names}
        known = {parameter: value for parameter, value in values.items() if value is not None}
        if len(known) == len(values) and space.contains(known):
            inside.append(replace(trial, values=known))
    if not inside:
        raise SweepError(
            f"No trial of the study {name!r} lies in this search space, so nothing can be learnt from it.",
            place=place,
            rule=f"It has {len(told)} trials with a score.",
            remedy="Widen the space, or leave the study out.",
        )
    left_out = len(told) - len(inside)
    tail = f"; {left_out} lie outside this space and are left out" if left_out else ""
    notes.append(f"Learning from {len(inside)} trials of the study {name}{tail}.")
    return inside
