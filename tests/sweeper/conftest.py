"""A study in a real database, with trials and curves but without training."""

from __future__ import annotations

import pytest
from planted_rehearsal import Rehearsal

from sweeper.clock import VirtualClock
from sweeper.records import CurvePoint, TrialState
from sweeper.setup import study_spec
from sweeper.space import SearchSpace
from sweeper.store import open_store
from sweeper.store.ledger import Ledger
from trainer.config import load_config_file

INI = """
[base]
package = gymnasium
env_name = CartPole-v1

[train]
total_timesteps = 200_000
learning_rate = 0.003
gamma = 0.99

[sweep]
method = Random
max_runs = 10

[sweep.train.learning_rate]
distribution = log_normal
min = 1e-5
max = 0.1

[sweep.train.gamma]
distribution = logit_normal
min = 0.8
max = 0.9999
"""


class FilledStudy:
    """A database with one study, and how to look into it."""

    def __init__(self, folder, scores=(10.0, 30.0, 20.0), *, failed=True) -> None:
        self.folder = folder
        self.ini = folder / "mine.ini"
        self.ini.write_text(INI)
        self.storage = folder / "studies.db"
        self.config = load_config_file(self.ini)
        space = SearchSpace.from_config(self.config)
        self.store = open_store(self.storage)
        self.study = self.store.create(study_spec(self.config, space, "mine", folder))
        clock = VirtualClock()
        ledger = Ledger(self.study, clock)
        for number, score in enumerate(scores):
            values = {"train.learning_rate": 0.001 * (number + 1), "train.gamma": 0.99 - 0.01 * number}
            trial = self._add(ledger, space, values)
            for step in range(1, 6):
                point = CurvePoint(step * 40_000, 2.0 * step * (number + 1), score * step / 5, {})
                ledger.report(trial.uuid, point)
            clock.advance(10)
            ledger.change(
                trial.uuid,
                TrialState.COMPLETE,
                attributes={"finished_at": clock.now(), "seed": 100 + number, "device": "cpu"},
                score=score,
            )
        if failed:
            from trainer.errors import FailureKind

            trial = self._add(ledger, space, {"train.learning_rate": 0.05, "train.gamma": 0.9})
            ledger.change(
                trial.uuid,
                TrialState.FAILED,
                failure_kind=FailureKind.NOT_FINITE,
                failure_message="The policy loss is NaN.",
            )
        ledger.close()

    def _add(self, ledger, space, values):
        return ledger.add(
            values,
            distributions=space.distributions(),
            describe=lambda number: {"started_at": 1.7e9 + 10 * number},
            total_agent_steps=200_000,
        )


@pytest.fixture
def fill(tmp_path):
    made = []

    def make(*args, **kwargs):
        made.append(FilledStudy(tmp_path, *args, **kwargs))
        return made[-1]

    yield make
    for filled in made:
        filled.store.close()


@pytest.fixture
def filled(fill):
    return fill()


@pytest.fixture
def rehearsal(tmp_path):
    return Rehearsal(tmp_path)
