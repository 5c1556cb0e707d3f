"""Settings of a run do in the run what their sentences say: schedules, clipping, optimisers, statistics, health."""

from __future__ import annotations

import math

import pytest
import torch

from trainer import evaluate, train
from trainer.checkpoint import list_checkpoints, load_checkpoint
from trainer.errors import NotFiniteError
from trainer.optimizers import make_optimizer
from trainer.policies import make_policy
from trainer.ppo.update import Learner
from trainer.records import Directive


def watch(config, vector, **more):
    """A run's Progress records and what its learner was given each epoch."""
    seen = []
    train(config, lambda progress: seen.append(progress) or Directive.CONTINUE, vector=vector, **more)
    return seen


def spy_on_updates(monkeypatch, note) -> list:
    noted = []
    real = Learner.update

    def update(self, buffer, coefficients):
        noted.append(note(self, buffer, coefficients))
        return real(self, buffer, coefficients)

    monkeypatch.setattr(Learner, "update", update)
    return noted


def learning_rates(config, vector, monkeypatch) -> list[float]:
    """What the optimiser was told, epoch by epoch."""
    return spy_on_updates(
        monkeypatch, lambda learner, *_: [float(group["lr"]) for group in learner.optimizer.param_groups]
    ), watch(config, vector)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_the_learning_rate_of_a_run_falls_along_a_cosine(
    corridor_config, make_corridor, monkeypatch, optimizer
) -> None:
    config = corridor_config.override(
        {"train.optimizer": optimizer, "train.learning_rate": 0.02, "train.min_lr_ratio": 0.25}
    )
    told, seen = learning_rates(config, make_corridor(), monkeypatch)
    expected = [0.02 * (0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi * epoch / 12))) for epoch in range(12)]
    for rates, rate in zip(told, expected, strict=True):
        assert rates == pytest.approx([rate] * len(rates))
    assert [progress.metrics["learning_rate"] for progress in seen] == pytest.approx(expected)


def test_without_annealing_it_stays(corridor_config, make_corridor, monkeypatch) -> None:
    told, _ = learning_rates(
        corridor_config.override({"train.anneal_lr": False}), make_corridor(), monkeypatch
    )
    assert {rate for rates in told for rate in rates} == {0.01}


def test_the_correction_for_priorities_is_whole_in_the_last_epoch(
    corridor_config, make_corridor, monkeypatch
) -> None:
    betas = spy_on_updates(monkeypatch, lambda _, __, coefficients: float(coefficients.prio_beta))
    watch(corridor_config.override({"train.prio_beta0": 0.4}), make_corridor())
    assert betas == pytest.approx([0.4 + 0.6 * epoch / 11 for epoch in range(12)])


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_betas_and_epsilon_reach_the_optimiser(corridor_config, make_corridor, optimizer) -> None:
    vector = make_corridor()
    config = corridor_config.override(
        {
            "train.optimizer": optimizer,
            "train.adam_beta1": 0.7,
            "train.adam_beta2": 0.8,
            "train.adam_eps": 1e-3,
        }
    )
    agent = make_policy(config, vector.observation_layout, vector.action_layout).to(vector.device)
    for group in make_optimizer(config, agent).param_groups:
        assert (tuple(group["betas"]), group["eps"]) == ((0.7, 0.8), 1e-3)


def test_rewards_are_clipped_for_the_learner_and_not_in_the_score(
    corridor_config, make_corridor, monkeypatch
) -> None:
    largest = spy_on_updates(monkeypatch, lambda _, buffer, __: float(buffer.rewards.max()))
    for clip in (None, 0.25):
        seen = watch(corridor_config.override({"train.reward_clip": clip}), make_corridor())
        scores = [progress.score for progress in seen if progress.score is not None]
        assert max(scores) == 1.0
    assert max(largest[:12]) == 1.0
    assert max(largest[12:]) == 0.25


def test_statistics_of_observations_are_part_of_checkpoint_and_evaluation(
    corridor_config, make_corridor, tmp_path, monkeypatch
) -> None:
    config = corridor_config.override({"policy.normalize_observations": True})
    observations = spy_on_updates(
        monkeypatch, lambda _, buffer, __: buffer.observations.flatten(0, 1).clone()
    )
    result = train(config, folder=tmp_path, vector=make_corridor())
    kept = load_checkpoint(result.checkpoint).agent
    (mean,) = [value for name, value in kept.items() if name.endswith("normaliser.mean")]
    (variance,) = [value for name, value in kept.items() if name.endswith("normaliser.variance")]
    everything = torch.cat(observations).double().cpu()
    torch.testing.assert_close(mean.double(), everything.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance.double(), everything.var(0, correction=0), rtol=1e-4, atol=1e-5)


class TestHealth:
    def test_weights_that_are_not_finite_end_the_run(
        self, corridor_config, make_corridor, tmp_path, monkeypatch
    ) -> None:
        """Found out even when the loss of that epoch was still fine."""
        real = torch.optim.Adam.step
        steps = []

        def step(self, *arguments):
            result = real(self, *arguments)
            steps.append(1)
            if len(steps) == 2 * 5:  # the last minibatch of the fifth epoch
                with torch.no_grad():
                    self.param_groups[0]["params"][0].view(-1)[0] = torch.inf
            return result

        monkeypatch.setattr(torch.optim.Adam, "step", step)
        config = corridor_config.override({"train.checkpoint_interval": 2})
        with pytest.raises(NotFiniteError, match=r"epoch 5.*weights"):
            train(config, folder=tmp_path, vector=make_corridor())
        kept = list_checkpoints(tmp_path)
        assert [load_checkpoint(path).epoch for path in kept] == [2, 4]
        assert all(tensor.isfinite().all() for tensor in load_checkpoint(kept[-1]).agent.values())

    def test_a_loss_that_is_not_finite_ends_the_run(self, corridor_config, make_corridor, tmp_path) -> None:
        """Rewards whose squares are beyond float32."""

        class Rich(make_corridor):
            def send(self, actions) -> None:
                super().send(actions)
                if self.num_steps > 32 * 3:
                    self.batches[-1].rewards.fill_(1e30)

        with pytest.raises(NotFiniteError, match="epoch 4") as caught:
            train(corridor_config, folder=tmp_path, vector=Rich())
        assert "learning_rate" in str(caught.value)
        assert [load_checkpoint(path).epoch for path in list_checkpoints(tmp_path)] == [3]

    def test_a_learning_rate_far_too_high_ends_the_run(
        self, corridor_config, make_corridor, tmp_path
    ) -> None:
        config = corridor_config.override({"train.learning_rate": 1e30, "train.anneal_lr": False})
        with pytest.raises(NotFiniteError):
            train(config, folder=tmp_path, vector=make_corridor())

    def test_an_environment_that_never_ends_reports_and_is_evaluated(self, tmp_path) -> None:
        from trainer import load_config

        config = load_config("Pendulum-v1").override(
            {
                "env.max_episode_steps": 1_000_000,
                "vec.num_envs": 4,
                "train.device": "cpu",
                "train.bptt_horizon": 16,
                "train.batch_size": "auto",
                "train.minibatch_size": 64,
                "train.total_timesteps": 128,
                "train.max_minibatch_size": 64,
            }
        )
        seen = []
        result = train(config, lambda p: seen.append(p) or Directive.CONTINUE, folder=tmp_path)
        assert [progress.score for progress in seen] == [None, None]
        assert all(progress.metrics["losses/value"] > 0 for progress in seen)
        played = evaluate(config, result.checkpoint, episodes=2, max_steps=30)
        assert played.truncated_episodes == 2
        assert all(math.isfinite(score) and score < 0 for score in played.scores)


def test_evaluation_is_greedy_or_sampled_and_its_interval_is_students(tmp_path) -> None:
    from scipy import stats

    from trainer import load_config

    config = load_config("CartPole-v1").override(
        {
            "train.device": "cpu",
            "train.total_timesteps": 4096,
            "train.minibatch_size": 128,
            "train.max_minibatch_size": 128,
            "vec.num_envs": 8,
        }
    )
    result = train(config, folder=tmp_path)
    greedy = [evaluate(config, result.checkpoint, episodes=8, greedy=True) for _ in range(2)]
    sampled = evaluate(config, result.checkpoint, episodes=8)
    assert greedy[0] == greedy[1]
    assert greedy[0].scores != sampled.scores
    low, high = stats.t.interval(
        0.95, 7, loc=sampled.mean, scale=stats.sem(sampled.scores)
    )  # by another road than ours
    assert sampled.interval == pytest.approx((low, high))
    # Episode i is that of seed + i, however many are played beside it.
    fewer = evaluate(config, result.checkpoint, episodes=3, greedy=True)
    assert fewer.scores == greedy[0].scores[:3]


@pytest.mark.parametrize("name", ["squared", "memory", "pong"])
def test_an_evaluation_of_several_waves_plays_on(name) -> None:
    """Environments that are arrays of tensors are begun anew between two waves."""
    from trainer import load_config
    from trainer.device import choose_device
    from trainer.evaluation import MAX_ENVS
    from trainer.policies import make_policy
    from trainer.vector import make_vector

    config = load_config(f"ocean/{name}").override({"train.device": "cpu"})
    vector = make_vector(config, choose_device("cpu"))
    agent = make_policy(config, vector.observation_layout, vector.action_layout)
    vector.close()
    both = evaluate(config, agent, episodes=MAX_ENVS + 5, greedy=True, max_steps=200)
    assert len(both.scores) == MAX_ENVS + 5
    later = evaluate(config, agent, episodes=5, greedy=True, max_steps=200, seed=1_000_003 + MAX_ENVS)
    assert both.scores[MAX_ENVS:] == later.scores
