"""A synthetic study that looks like a real one: eight parameters, learning curves, pruned and failed trials."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweeper.parameter import Parameter
from sweeper.records import Observation, Trial, TrialState
from sweeper.repeats import Repeat
from sweeper.report.study_view import StudyView
from trainer.errors import FailureKind

PARAMETERS = (
    Parameter("train.learning_rate", "log_normal", 1e-5, 3e-2, False, (), 3e-3),
    Parameter("train.gamma", "logit_normal", 0.8, 0.9999, False, (), 0.99),
    Parameter("train.gae_lambda", "logit_normal", 0.6, 0.995, False, (), 0.95),
    Parameter("train.ent_coef", "log_normal", 1e-5, 0.2, False, (), 1e-3),
    Parameter("train.minibatch_size", "uniform_pow2", 256, 8192, True, (), 2048),
    Parameter("train.clip_coef", "uniform", 0.05, 0.5, False, (), 0.2),
    Parameter("train.update_epochs", "int_uniform", 1, 8, True, (), 2),
    Parameter("train.optimizer", "categorical", 0, 1, False, ("adam", "muon"), "adam"),
)
LAST_STEP = 2_000_000


def make_study(
    num_trials: int = 120, *, seed: int = 0, goal: str = "maximize", points: int = 50, **more
) -> StudyView:
    rng = np.random.default_rng(seed)
    clock = 1_790_000_000.0
    free = [clock, clock + 3]
    trials = []
    for number in range(num_trials):
        narrow = 1.0 / (1 + number / 40)
        units = {
            p.name: float(np.clip(rng.normal(_OPTIMUM[p.name], 0.33 * narrow + 0.08), 0, 1))
            for p in PARAMETERS
        }
        if number == 0:
            units = {p.name: p.to_unit(p.centre) for p in PARAMETERS}
        trial, slot = _trial(number, units, rng, free, points), int(np.argmin(free))
        free[slot] = float(trial.attributes["finished_at"]) + 0.5
        trials.append(trial)
    if goal == "minimize":
        trials = [_negated(trial) for trial in trials]
    return StudyView(
        name="breakout",
        environment="ALE/Breakout-v5",
        parameters=PARAMETERS,
        trials=tuple(trials),
        method="Protein",
        pruner="promotion",
        metric="score",
        goal=goal,
        device="cpu",
        written={p.name: p.centre for p in PARAMETERS},
        max_runs=num_trials,
        **more,
    )


_OPTIMUM = {
    "train.learning_rate": 0.62,
    "train.gamma": 0.6,
    "train.gae_lambda": 0.5,
    "train.ent_coef": 0.45,
    "train.minibatch_size": 0.4,
    "train.clip_coef": 0.97,
    "train.update_epochs": 0.5,
    "train.optimizer": 0.6,
}
_WEIGHT = {
    "train.learning_rate": 3.5,
    "train.gamma": 2.2,
    "train.gae_lambda": 0.4,
    "train.ent_coef": 1.2,
    "train.minibatch_size": 0.5,
    "train.clip_coef": 0.5,
    "train.update_epochs": 0.05,
    "train.optimizer": 0.2,
}


def _trial(
    number: int, units: dict[str, float], rng: np.random.Generator, free: list[float], points: int
) -> Trial:
    values = {p.name: p.from_unit(units[p.name]) for p in PARAMETERS}
    loss = sum(_WEIGHT[name] * (units[name] - _OPTIMUM[name]) ** 2 for name in units)
    plateau = 1.5 + 60 * math.exp(-6 * loss) * rng.normal(1, 0.05)
    pace = 2.5 + 2 * rng.random()
    seconds = 180 + 260 * units["train.update_epochs"] + 40 * rng.random()
    state, stop = TrialState.COMPLETE, 1.0
    if rng.random() < 0.05:
        state, stop = TrialState.FAILED, 0.3 * rng.random()
    elif plateau < 25 and rng.random() < 0.75:
        state, stop = TrialState.PRUNED, 0.15 + 0.4 * rng.random()
    grid = np.linspace(0, 1, points + 1)[1:]
    curve = tuple(
        Observation(
            int(LAST_STEP * t), seconds * t, float(plateau * (1 - math.exp(-pace * t)) + rng.normal(0, 0.6))
        )
        for t in grid
        if t <= stop
    )
    start = min(free)
    kind, message = (None, "")
    if state is TrialState.FAILED:
        kind, message = _FAILURES[number % len(_FAILURES)]
    return Trial(
        number=number,
        uuid=f"uuid-{number}",
        state=state,
        values=values,
        curve=curve,
        score=None if state is TrialState.FAILED or not curve else curve[-1].score,
        cost_seconds=seconds * stop,
        agent_steps=int(LAST_STEP * stop),
        total_agent_steps=LAST_STEP,
        failure_kind=kind,
        failure_message=message,
        attributes={
            "started_at": start,
            "finished_at": start + seconds * stop,
            "seed": 1000 + number,
            "steps_per_second": LAST_STEP / seconds,
            "device": "cpu",
        },
    )


_FAILURES = (
    (FailureKind.NOT_FINITE, "The policy loss is NaN in epoch 31."),
    (FailureKind.OUT_OF_DEVICE_MEMORY, "CUDA out of memory: tried to allocate 2.4 GB."),
    (FailureKind.ENVIRONMENT, "Environment 7 raised ValueError('<script>alert(1)</script>') & died."),
)


def _negated(trial: Trial) -> Trial:
    from dataclasses import replace

    curve = tuple(replace(point, score=-point.score) for point in trial.curve)
    return replace(trial, curve=curve, score=None if trial.score is None else -trial.score)


REPEATS = (
    Repeat(57, (52.1, 55.0, 49.8, 57.3, 54.4), 53.72, (51.4, 55.6)),
    Repeat(88, (50.2, 51.7, 53.9, 47.5, 52.8), 51.22, (49.2, 52.9)),
    Repeat(31, (44.2, 46.0, 43.9, 47.4, 45.5), 45.4, (44.3, 46.5)),
)


@pytest.fixture(scope="session")
def study() -> StudyView:
    return make_study()


@pytest.fixture
def study_maker():
    return make_study
