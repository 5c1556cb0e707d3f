"""A trial's config as a complete INI: with a header that says where it came from, or inside a copy of a user's file.

The settings are the trial's own, resolved, so that training them again trains the same agent; only `train.device`
is put back to `auto`, because the next machine may have another.
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import SweepError
from sweeper.folder import CONFIG_FILE, write_text
from sweeper.formatting import format_number, format_seconds, format_time
from sweeper.limits import furthest_of
from sweeper.records import Trial, TrialState
from sweeper.repeats import read_repeats, verdict
from trainer.config import DEFAULT, FILE, Config, Origin, dump_config, load_config_file
from trainer.config.files import default_path, describe
from trainer.config.ini import parse_ini
from trainer.config.model import attach
from trainer.errors import ConfigError, ConfigFileError, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sweeper.store import StoredStudy

DEVICE = "train.device"


@dataclass(frozen=True, slots=True)
class Exported:
    """One trial, ready to be written.

    Attributes:
        trial: the trial.
        config: its config, device auto.
        header: lines without comment marks.
    """

    trial: Trial
    config: Config
    header: tuple[str, ...]

    @property
    def text(self) -> str:
        """The complete INI."""
        comments = "".join(f"# {line}".rstrip() + "\n" for line in self.header)
        return f"{comments}\n{dump_config(self.config)}"

    def record(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "trial": self.trial.number,
            "state": self.trial.state.value,
            "score": self.trial.score,
            "cost_seconds": self.trial.cost_seconds,
            "agent_steps": self.trial.agent_steps,
            "values": dict(self.trial.values),
            "config": self.config.values_by_name(),
        }


def choose_trial(study: StoredStudy, number: int | None = None) -> Trial:
    """The trial of that number, or the best one.

    Raises:
        StudyNotFoundError: no such trial.
        SweepError: no trial is complete yet.
    """
    if number is not None:
        return study.trial(number)
    best = study.best()
    if best is None:
        furthest = furthest_of(study.trials(), study.spec.goal)
        known, name = "any trial", "N"
        if furthest is not None:
            known, name = f"the one that has come furthest, {how_far(furthest)}", str(furthest.number)
        raise SweepError(
            f"Study {study.name!r} has no complete trial yet, so there is no best one.",
            remedy=f"Wait for one, or take {known}: puffer-sweep export {study.name} --trial {name}.",
        )
    return best


def how_far(trial: Trial) -> str:
    """How far a trial with a score has come, as in `trial 3 with score 1.5 at 50 % of its steps`."""
    percent = 100 * trial.agent_steps / max(trial.total_agent_steps, 1)
    return f"trial {trial.number} with score {format_number(trial.score)} at {percent:.0f} % of its steps"


def confirmed_leader(study: StoredStudy) -> Trial:
    """The trial with the best mean over fresh seeds.

    Raises:
        SweepError: nothing has been confirmed yet.
    """
    repeats = read_repeats(study.attributes(), sign=study.spec.sign)
    if not repeats:
        raise SweepError(
            f"No trial of study {study.name!r} has been trained again with fresh seeds.",
            remedy=f"Do that first: puffer-sweep confirm {study.name}.",
        )
    return study.trial(repeats[0].trial_number)


def pareto_trials(study: StoredStudy) -> tuple[Trial, ...]:
    """Complete trials that no other one beats in both score and cost, cheapest first.

    Raises:
        SweepError: no trial is complete yet.
    """
    choose_trial(study)
    by_steps = study.spec.settings.get("sweep.cost") == "agent_steps"
    complete = [t for t in study.trials() if t.state is TrialState.COMPLETE and t.score is not None]
    return pareto_front(complete, sign=study.spec.sign, by_steps=by_steps)


def pareto_front(trials: Sequence[Trial], *, sign: int = 1, by_steps: bool = False) -> tuple[Trial, ...]:
    """Trials with a finite score that no other one beats in both score and cost, cheapest first.

    Args:
        trials: complete ones.
        sign: 1 when more is better, -1 when less is.
        by_steps: cost is agent steps instead of seconds.
    """
    scored = [(t, sign * t.score) for t in trials if t.score is not None and math.isfinite(t.score)]
    scored.sort(
        key=lambda pair: (pair[0].agent_steps if by_steps else pair[0].cost_seconds, -pair[1], pair[0].number)
    )
    front: list[Trial] = []
    highest = -math.inf
    for trial, score in scored:
        if score > highest:
            front.append(trial)
            highest = score
    return tuple(front)


def export_trial(study: StoredStudy, trial: Trial) -> Exported:
    """A trial's config with its header."""
    return Exported(trial, trial_config(study, trial), _header(study, trial))


def trial_config(study: StoredStudy, trial: Trial) -> Config:
    """The config a trial ran with, resolved, device auto.

    It is read from the trial's folder; where that is gone, the study's own config with the trial's values and seed
    takes its place (then what was `auto` is `auto` again).
    """
    stored = study.trial_folder(trial.number) / CONFIG_FILE
    if stored.is_file():
        config = load_config_file(stored, fill_in_default=False)
    else:
        values: dict[str, Any] = dict(trial.values)
        seed = trial.attributes.get("seed")
        if isinstance(seed, int) and "train.seed" not in values:
            values["train.seed"] = seed
        config = study_config(study).override(values)
    return config.override({DEVICE: "auto"}) if config.get(DEVICE) != "auto" else config


def study_config(study: StoredStudy) -> Config:
    """The config as the study's first sweep loaded it.

    A complete INI no longer tells what its author wrote from what the defaults filled in, but some defaults give way
    where they do not fit (`minibatch_size`). So what equals its default counts as default again.
    """
    config = config_from_text(study.spec.config)
    defaults = load_config_file(default_path(), fill_in_default=False).values_by_name()
    origins = {
        name: Origin(DEFAULT) if name in defaults and defaults[name] == value else config.origin(name)
        for name, value in config.values_by_name().items()
    }
    attach(config, origins, config.notes)
    return config


def config_from_text(text: str) -> Config:
    """A config from a complete INI's text."""
    with tempfile.TemporaryDirectory(prefix="puffer-sweep-") as folder:
        path = Path(folder) / "config.ini"
        path.write_text(text, encoding="utf-8")
        return load_config_file(path, fill_in_default=False)


def changed_settings(before: Config, after: Config, names: Iterable[str]) -> dict[str, tuple[object, object]]:
    """Full name → (before, after) of the named settings whose values differ."""
    old, new = before.values_by_name(), after.values_by_name()
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def write_exported(exported: Exported, path: Path) -> None:
    """Writes the INI, whole or not at all.

    Raises:
        SweepError: the path cannot be written.
    """
    write_file(path, exported.text)


def write_file(path: Path, text: str) -> None:
    """Writes a text, whole or not at all.

    Raises:
        SweepError: the path cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise SweepError(
            f"The file cannot be written: {error.strerror or error}.",
            place=Place(file=str(path)),
            remedy="Choose another with -o FILE.",
        ) from error


def merge_into(exported: Exported, template: Path) -> str:
    """A user's file with the trial's values put in: comments, order and unknown sections stay.

    Every setting that the file sets takes the trial's value where it differs; every swept setting that the file
    does not set is added to its section, or in a new one at the end. `[sweep]` sections stay as they are.

    Raises:
        ConfigError: the file is no config of ours.
    """
    environment = exported.config.base.env_name
    own = load_config_file(template, fill_in_default=False, env_name=environment)
    try:
        text = template.read_text(encoding="utf-8-sig")
    except OSError as error:  # pragma: no cover - loading has just read it
        raise ConfigFileError("the file cannot be read", place=Place(file=str(template))) from error
    from sweeper.ini_edit import edit_ini

    wanted = exported.config.values_by_name()
    before = own.values_by_name()
    values: dict[str, Any] = {
        name: wanted[name]
        for name in before
        if name in wanted and _is_setting(name) and name != DEVICE and wanted[name] != before[name]
    }
    values.update({name: wanted[name] for name in exported.trial.values if name in wanted})
    values = {_where_it_stands(own, name): value for name, value in values.items()}
    listed = describe(template, parse_ini(text, str(template))).env_names
    if environment is not None and listed[:1] != (environment,):
        # A file may list several environments, and have sections for each: the trial's becomes the first.
        values["base.env_name"] = " ".join([environment, *(name for name in listed if name != environment)])
    header = "".join(f"# {line}".rstrip() + "\n" for line in exported.header)
    return f"{header}\n{edit_ini(text, values)}"


def _where_it_stands(template: Config, name: str) -> str:
    """Section and key of a setting in the user's file, where `[NAME:section]` may hold it for one environment.

    Raises:
        ConfigError: the file speaks another dialect, in which the setting has another name.
    """
    origin = template.origin(name)
    place = origin.place
    if origin.kind != FILE or place is None or place.section is None or place.key is None:
        return name
    section = place.section.rpartition(":")[2]
    if f"{section}.{place.key}" != name:
        raise ConfigError(
            f"this is {name} in another dialect",
            place=place,
            remedy="Translate the file first, with puffer-sweep convert.",
        )
    return f"{place.section}.{place.key}"


def _is_setting(name: str) -> bool:
    return not name.startswith("sweep.") and name != "base.env_name"


def as_json(exported: Exported) -> str:
    """The trial and its whole config as JSON."""
    return json.dumps(exported.record(), indent=2, default=str)


_VERSIONS = ("puffer-sweep", "torch", "gymnasium", "python")
_ENVIRONMENT_VERSIONS = {"atari": "ale-py", "procgen": "procgen2", "envpool": "envpool"}


def _origin(facts: Mapping[str, object], study_facts: Mapping[str, object], package: str) -> str:
    """On what device and by which versions a trial was trained; the trial's own word counts where it has one."""
    device, model = facts.get("device"), facts.get("device_name")
    parts = []
    if device or model:
        parts.append(f"on {model} ({device})" if device and model else f"on {model or device}")
    versions = study_facts.get("versions")
    known = {**versions, **facts} if isinstance(versions, dict) else dict(facts)
    names = (*_VERSIONS, _ENVIRONMENT_VERSIONS.get(package, ""))
    parts += [f"{name} {known[name]}" for name in names if known.get(name)]
    if facts.get("commit"):
        parts.append(f"commit {facts['commit']}")
    return ", ".join(parts)


def _confirmation(study: StoredStudy, trial: Trial) -> list[str]:
    """What fresh seeds have said about a trial, and about the next if it leads."""
    repeats = read_repeats(study.attributes(), sign=study.spec.sign)
    lines = [
        f"trained again with {len(repeat.scores)} fresh seeds: mean {format_number(repeat.mean, 6)}, 95 % interval "
        f"{format_number(repeat.interval[0], 6)} to {format_number(repeat.interval[1], 6)}"
        for repeat in repeats
        if repeat.trial_number == trial.number
    ]
    if len(repeats) > 1 and repeats[0].trial_number == trial.number:
        lines.append(verdict(repeats[0], repeats[1]))
    return lines


def _header(study: StoredStudy, trial: Trial) -> tuple[str, ...]:
    facts: Mapping[str, object] = trial.attributes
    lines = [
        f"puffer-sweep: trial {trial.number} of the study {study.name}",
        (
            f"{study.spec.metric} {format_number(trial.score, 6)} ({study.spec.goal}), "
            f"{format_seconds(trial.cost_seconds)}, {trial.agent_steps:,} agent steps"
        ),
    ]
    evaluation = facts.get("evaluation")
    interval = evaluation.get("interval") if isinstance(evaluation, dict) else None
    if isinstance(interval, list | tuple) and len(interval) == 2:
        lines[1] += f", 95 % interval {format_number(interval[0])} to {format_number(interval[1])}"
    finished = facts.get("finished_at")
    if isinstance(finished, int | float):
        lines.append(f"finished {format_time(finished)}")
    where = _origin(facts, study.attributes(), study.spec.environment.partition("/")[0])
    if where:
        lines.append(where)
    command = facts.get("command") or study.attributes().get("command")
    if command:
        words = " ".join(command) if isinstance(command, list | tuple) else str(command)
        lines.append(f"found by: {words}")
    lines += _confirmation(study, trial)
    lines.append("train it: puffer-sweep train THIS_FILE")
    return tuple(line.replace("\n", " ") for line in lines)
