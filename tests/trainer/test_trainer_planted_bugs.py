"""Bugs planted one at a time, each of which some numeric test must notice.

The test modules are loaded anew with the bug in place, and their own tests are called.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from trainer import loop
from trainer.policies.precision import CastCompute
from trainer.ppo import advantage, loss, prioritise, rollout, update

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"planted_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def truncation_treated_as_termination(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollout.Collector, "_value_finals", lambda self, buffer: None)


def lstm_state_not_reset(patch: pytest.MonkeyPatch) -> None:
    real = rollout.act
    defaults = rollout.Collector.__init__.__kwdefaults__

    def forgetful(agent, distribution, observations, state, resets, noise):
        return real(agent, distribution, observations, state, torch.zeros_like(resets), noise)

    patch.setitem(defaults, "act_function", forgetful)


def advantage_with_the_wrong_sign(patch: pytest.MonkeyPatch) -> None:
    real = advantage.compute_advantages
    patch.setattr(advantage, "compute_advantages", lambda *a, **k: -real(*a, **k))


def no_annealing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loop, "set_learning_rate", lambda optimizer, value: None)


def no_annealing_of_the_correction(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loop, "prio_beta_at", lambda progress, beta0: beta0)


def priorities_not_drawn_by(patch: pytest.MonkeyPatch) -> None:
    real = update.draw_segments
    patch.setattr(update, "draw_segments", lambda p, *rest: real(torch.ones_like(p) / len(p), *rest))


def stale_ratios(patch: pytest.MonkeyPatch) -> None:
    real = update.backpropagate_piece

    def stale(*arguments):
        parts, ratios, values = real(*arguments)
        return parts, torch.ones_like(ratios), values

    patch.setitem(update.Learner.__init__.__kwdefaults__, "backpropagate", stale)


def cast_weights_cached(patch: pytest.MonkeyPatch) -> None:
    real = CastCompute.refresh

    def once(self) -> None:
        if not hasattr(self, "_done"):
            self._done = True
            real(self)

    patch.setattr(CastCompute, "refresh", once)


def priorities_ignored(patch: pytest.MonkeyPatch) -> None:
    def uniform(advantages, alpha):
        return torch.full((advantages.shape[1],), 1 / advantages.shape[1])

    patch.setattr(prioritise, "segment_probabilities", uniform)


def dead_steps_learnt_from(patch: pytest.MonkeyPatch) -> None:
    real = loss.ppo_loss
    patch.setattr(
        loss,
        "ppo_loss",
        lambda inputs, *rest: real(inputs._replace(live=torch.ones_like(inputs.live)), *rest),
    )


BUGS = [
    (truncation_treated_as_termination, "test_trainer_rollout", "test_every_step_is_in_its_place", True),
    (lstm_state_not_reset, "test_trainer_rollout", "test_the_state_begins_anew_with_every_episode", True),
    (advantage_with_the_wrong_sign, "test_trainer_advantage", "test_a_hand_computed_episode", False),
    (priorities_ignored, "test_trainer_loss", "test_hand_computed_priorities", False),
    (dead_steps_learnt_from, "test_trainer_loss", "test_a_hand_computed_minibatch", False),
]


@pytest.mark.parametrize(
    ("plant", "module", "test", "wants_corridor"), BUGS, ids=[bug[0].__name__ for bug in BUGS]
)
def test_a_planted_bug_is_noticed(
    plant: Callable[[pytest.MonkeyPatch], None],
    module: str,
    test: str,
    wants_corridor: bool,
    make_corridor,
    monkeypatch,
) -> None:
    arguments = (make_corridor,) if wants_corridor else ()
    getattr(load(module), test)(*arguments)
    plant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(load(module), test)(*arguments)


@pytest.mark.parametrize(
    ("plant", "test", "settings"),
    [
        (no_annealing, "test_the_learning_rate_of_a_run_falls_along_a_cosine", ("adam",)),
        (no_annealing, "test_the_learning_rate_of_a_run_falls_along_a_cosine", ("muon",)),
        (
            no_annealing_of_the_correction,
            "test_the_correction_for_priorities_is_whole_in_the_last_epoch",
            (),
        ),
    ],
)
def test_a_schedule_that_does_not_move_is_noticed(
    corridor_config, make_corridor, monkeypatch, plant, test, settings
) -> None:
    def call() -> None:
        with pytest.MonkeyPatch.context() as inner:
            getattr(load("test_trainer_settings"), test)(corridor_config, make_corridor, inner, *settings)

    call()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        call()


def test_priorities_that_nothing_is_drawn_by_are_noticed(monkeypatch) -> None:
    priorities_not_drawn_by(monkeypatch)
    with pytest.MonkeyPatch.context() as inner, pytest.raises(AssertionError):
        load("test_trainer_update").test_minibatches_prefer_segments_with_large_advantages(inner)


def test_stale_ratios_are_noticed(monkeypatch) -> None:
    stale_ratios(monkeypatch)
    with pytest.MonkeyPatch.context() as inner, pytest.raises(AssertionError):
        load("test_trainer_update").test_ratios_of_learnt_segments_are_the_newest_known(inner)


def test_cached_weights_are_noticed(monkeypatch) -> None:
    cast_weights_cached(monkeypatch)
    with pytest.raises(AssertionError):
        load("test_trainer_update").TestPrecision().test_the_copy_follows_the_weights()
