"""Studies and trials for tests of the store: nothing runs."""

from __future__ import annotations

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.records import CurvePoint
from sweeper.store import StudySpec

DISTRIBUTIONS = {
    "train.gamma": FloatDistribution(0.8, 0.9999),
    "train.update_epochs": IntDistribution(1, 8),
    "train.optimizer": CategoricalDistribution(["adam", "muon"]),
}
VALUES = {"train.gamma": 0.997, "train.update_epochs": 3, "train.optimizer": "muon"}


def spec(tmp_path, name="night", **changes):
    content = {
        "name": name,
        "goals": ("maximize",),
        "objectives": ("score",),
        "metric": "score",
        "space": {"train.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.9999}},
        "settings": {"train.total_timesteps": 1000, "env.size": (84, 84)},
        "config": "[train]\n",
        "artifacts_folder": tmp_path,
        "environment": "atari/breakout",
    }
    return StudySpec(**{**content, **changes})


def add(ledger, values=VALUES, **options):
    return ledger.add(
        values,
        distributions=DISTRIBUTIONS,
        describe=lambda number: {"seed": number},
        total_agent_steps=1000,
        **options,
    )


def points(*steps):
    return [CurvePoint(s, s / 10, float(s), {"losses/kl": s / 7}) for s in steps]
