"""A study without a loop: trials whose curves are a formula, run as a method decides."""

from __future__ import annotations

import math
from dataclasses import replace

from sweeper.methods import make_method
from sweeper.records import Observation, Resume, Trial, TrialState, Verdict
from sweeper.space import SearchSpace
from trainer.config import Config
from trainer.errors import FailureKind

TOTAL = 100_000
POINTS = 20
SECTIONS = {
    "train.learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 0.1, "mean": 0.003},
    "train.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.9999},
    "train.update_epochs": {"distribution": "int_uniform", "min": 1, "max": 8},
    "train.minibatch_size": {"distribution": "uniform_pow2", "min": 1024, "max": 65536},
    "train.optimizer": {"distribution": "categorical", "values": ["adam", "muon"]},
}
DISCRETE = {
    name: SECTIONS[name] for name in ("train.update_epochs", "train.minibatch_size", "train.optimizer")
}


def build_config(method="thaw", pruner="promotion", sections=None, **sweep):
    sections = SECTIONS if sections is None else sections
    values = {f"sweep.{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()}
    values |= {"sweep.method": method, "sweep.pruner": pruner, "train.total_timesteps": TOTAL}
    return Config().override(values | {f"sweep.{key}": value for key, value in sweep.items()})


def bowl(values, space):
    return 1.0 - sum((p.to_unit(values[p.name]) - 0.3) ** 2 for p in space.parameters)


class Simulation:
    """Runs trials one after another (or several at once, in lockstep) as the method says."""

    def __init__(self, config, *, formula=bowl, seed=3, crash=None, trials=(), sign=1.0, bend=float):
        self.config = config
        self.space = SearchSpace.from_config(config)
        self.method = make_method(config, self.space, seed)
        self.formula = formula
        self.bend = bend
        self.crash = crash
        self.sign = sign
        self.trials = {trial.uuid: trial for trial in trials}

    def snapshots(self):
        return tuple(self.trials.values())

    def step(self):
        """Asks once and runs what was asked; False when the method has nothing more."""
        decision = self.method.next(self.snapshots())
        if decision is None:
            return False
        if isinstance(decision, Resume):
            trial = self.trials[decision.uuid]
            assert trial.state is TrialState.PAUSED
        else:
            number = len(self.trials)
            assert self.space.contains(decision.values), decision.values
            self.config.override(dict(decision.values))
            trial = Trial(number, f"u{number}", TrialState.RUNNING, decision.values, total_agent_steps=TOTAL)
        self.run(trial, decision.pause_at_steps)
        return True

    def run(self, trial, until):
        end = TOTAL if until is None else min(until, TOTAL)
        assert trial.agent_steps < end
        trial = replace(trial, state=TrialState.RUNNING)
        self.trials[trial.uuid] = trial
        score = self.formula(trial.values, self.space) * self.sign
        if self.crash is not None and self.crash(trial.values):
            failed = replace(trial, state=TrialState.FAILED, failure_kind=FailureKind.NOT_FINITE)
            self.trials[trial.uuid] = replace(failed, cost_seconds=1.0, agent_steps=end // 2)
            return
        while trial.agent_steps < end:
            steps = min(trial.agent_steps + TOTAL // POINTS, end)
            level = score * (1 - math.exp(-4 * steps / TOTAL)) if math.isfinite(score) else score
            level = self.bend(level)
            point = Observation(steps, steps / 1000, level)
            trial = replace(
                trial, agent_steps=steps, cost_seconds=steps / 1000, curve=(*trial.curve, point), score=level
            )
            self.trials[trial.uuid] = trial
            if self.method.judge(trial, self.snapshots()) is Verdict.STOP:
                self.trials[trial.uuid] = replace(trial, state=TrialState.PRUNED)
                return
        state = TrialState.COMPLETE if end == TOTAL else TrialState.PAUSED
        self.trials[trial.uuid] = replace(trial, state=state)
