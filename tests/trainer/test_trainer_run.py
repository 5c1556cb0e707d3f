"""`train` from end to end on an environment small enough to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from trainer import evaluate, train
from trainer.checkpoint import list_checkpoints, load_checkpoint
from trainer.errors import (
    CheckpointError,
    DeviceError,
    EnvironmentFault,
    FailureKind,
    MemoryExhaustedError,
    NotFiniteError,
)
from trainer.records import Directive, RunStatus

if TYPE_CHECKING:
    from pathlib import Path


class Listener:
    """Keeps every Progress and answers from a script: epoch → directive."""

    def __init__(self, **answers: Directive) -> None:
        self.seen = []
        self.answers = {int(key.removeprefix("at_")): value for key, value in answers.items()}

    def __call__(self, progress) -> Directive:
        self.seen.append(progress)
        return self.answers.get(progress.epoch, Directive.CONTINUE)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).agent


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_progress_tells_the_whole_story(corridor_config, make_corridor, tmp_path) -> None:
    listener, beats = Listener(), []
    result = train(
        corridor_config,
        listener,
        folder=tmp_path,
        on_heartbeat=lambda: beats.append(1),
        vector=make_corridor(),
    )
    assert result.status is RunStatus.COMPLETED
    assert [p.epoch for p in listener.seen] == list(range(1, 13))
    assert [p.agent_steps for p in listener.seen] == [32 * i for i in range(1, 13)]
    last = listener.seen[-1]
    assert last.total_agent_steps == result.agent_steps == 32 * 12
    assert last.num_epochs == 12
    assert last.score is not None
    expected = {"environment/score", "environment/episode_return", "environment/episode_length"}
    expected |= {
        f"losses/{n}" for n in ("policy", "value", "entropy", "kl", "clip_fraction", "explained_variance")
    }
    expected |= {f"seconds/{n}" for n in ("environment", "forward", "learn", "copy", "other")}
    assert expected | {"learning_rate"} <= set(last.metrics)
    assert len(beats) == 1 + 12 * (8 + 2)
    assert all(isinstance(value, str | int | float) for value in result.facts.values())
    times = [p.uptime_seconds for p in listener.seen]
    assert times == sorted(times)


def test_it_learns_the_corridor(corridor_config, make_corridor) -> None:
    config = corridor_config.override(
        {
            "vec.num_envs": 32,
            "train.minibatch_size": 128,
            "train.total_timesteps": 256 * 60,
            "train.gamma": 0.9,
        }
    )
    listener = Listener()
    train(config, listener, vector=make_corridor(num_envs=32, length=6, limit=14))
    lengths = [p.metrics["environment/episode_length"] for p in listener.seen[-20:] if p.score is not None]
    # From a start drawn evenly from 0 … 5 the straight way takes 3.5 steps on average; a random walk hits the
    # limit.
    assert sum(lengths) / len(lengths) < 4.5


def test_no_episode_means_no_score(corridor_config, make_corridor) -> None:
    config = corridor_config.override({"train.total_timesteps": 32})
    listener = Listener()
    train(config, listener, vector=make_corridor(length=1000, limit=1000))
    assert listener.seen[0].score is None
    assert "environment/score" not in listener.seen[0].metrics


@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_the_same_seed_gives_the_same_bits(corridor_config, make_corridor, tmp_path, rnn, optimizer) -> None:
    config = corridor_config.override({"base.rnn_name": rnn, "train.optimizer": optimizer})
    other = config.override({"train.seed": 7})
    paths = [
        train(c, folder=tmp_path / str(i), vector=make_corridor()).checkpoint
        for i, c in enumerate((config, config, other))
    ]
    first, second, third = (weights(path) for path in paths)
    assert same(first, second)
    assert not same(first, third)


@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
@pytest.mark.parametrize("stop_at", [1, 5, 11])
def test_a_resumed_run_ends_bit_identical(corridor_config, make_corridor, tmp_path, rnn, stop_at) -> None:
    config = corridor_config.override({"base.rnn_name": rnn, "policy.normalize_observations": stop_at == 5})
    whole = train(config, folder=tmp_path / "whole", vector=make_corridor())
    first = train(
        config,
        Listener(**{f"at_{stop_at}": Directive.PAUSE}),
        folder=tmp_path / "parts",
        vector=make_corridor(),
    )
    assert first.status is RunStatus.PAUSED
    assert first.epochs == stop_at
    listener = Listener()
    second = train(
        config, listener, folder=tmp_path / "parts", resume_from=first.checkpoint, vector=make_corridor()
    )
    assert second.status is RunStatus.COMPLETED
    assert [p.epoch for p in listener.seen] == list(range(stop_at + 1, 13))
    assert listener.seen[0].uptime_seconds > first.uptime_seconds
    assert same(weights(whole.checkpoint), weights(second.checkpoint))


def test_checkpoints_come_every_interval_and_at_the_end_and_few_are_kept(
    corridor_config, make_corridor, tmp_path
) -> None:
    written = []

    def watch(progress) -> Directive:
        written.append([path.name for path in list_checkpoints(tmp_path)])
        return Directive.CONTINUE

    train(corridor_config, watch, folder=tmp_path, vector=make_corridor())
    assert written[3] == ["epoch-00000003.pt"]
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        f"epoch-{epoch:08d}.pt" for epoch in (6, 9, 12)
    ]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.startswith(".")] == []


def test_stop_ends_the_run_with_a_checkpoint(corridor_config, make_corridor, tmp_path) -> None:
    result = train(corridor_config, Listener(at_2=Directive.STOP), folder=tmp_path, vector=make_corridor())
    assert result.status is RunStatus.STOPPED
    assert load_checkpoint(result.checkpoint).epoch == 2


def test_a_vector_that_was_handed_in_stays_open(corridor_config, make_corridor) -> None:
    vector = make_corridor()
    train(corridor_config, vector=vector)
    assert not vector.closed


def test_nothing_of_torch_is_left_changed(corridor_config, make_corridor) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    train(corridor_config.override({"train.num_threads": 1}), vector=make_corridor())
    after = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_divergence_ends_the_run_and_keeps_the_last_good_checkpoint(
    corridor_config, make_corridor, tmp_path
) -> None:
    class Poisoned(make_corridor):
        def send(self, actions) -> None:
            super().send(actions)
            if self.num_steps > 32 * 4:
                self.batches[-1].rewards.fill_(float("nan"))

    with pytest.raises(NotFiniteError, match="epoch 5"):
        train(corridor_config, folder=tmp_path, vector=Poisoned())
    kept = list_checkpoints(tmp_path)
    assert [path.name for path in kept] == ["epoch-00000003.pt"]
    assert all(tensor.isfinite().all() for tensor in weights(kept[0]).values())


def test_cuda_that_is_not_there_is_an_error(corridor_config, make_corridor) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(DeviceError):
        train(corridor_config.override({"train.device": "cuda"}), vector=make_corridor())


def test_a_checkpoint_of_another_policy_does_not_fit(corridor_config, make_corridor, tmp_path) -> None:
    result = train(corridor_config, folder=tmp_path, vector=make_corridor())
    wider = corridor_config.override({"policy.hidden_size": 32})
    with pytest.raises(CheckpointError, match="do not fit"):
        train(wider, resume_from=result.checkpoint, vector=make_corridor())


def test_groups_in_any_order_fill_the_same_buffer_shape(corridor_config, make_corridor) -> None:
    vector = make_corridor(num_envs=4, groups=2, order=[0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1])
    listener = Listener()
    result = train(corridor_config, listener, vector=vector)
    assert result.agent_steps == 32 * 12


def test_evaluation_on_a_real_environment(tmp_path) -> None:
    from trainer.config import Config

    config = Config().override(
        {
            "base.package": "gymnasium",
            "base.env_name": "CartPole-v1",
            "vec.num_envs": 4,
            "train.bptt_horizon": 8,
            "train.minibatch_size": 32,
            "train.total_timesteps": 64,
            "train.device": "cpu",
        }
    )
    result = train(config, folder=tmp_path)
    first = evaluate(config, result.checkpoint, episodes=5)
    again = evaluate(config, result.checkpoint, episodes=5)
    assert first == again
    assert len(first.scores) == len(first.lengths) == 5
    assert first.scores == tuple(float(length) for length in first.lengths)
    assert first.interval[0] <= first.mean <= first.interval[1]
    cut = evaluate(config, result.checkpoint, episodes=3, max_steps=4)
    assert cut.truncated_episodes == 3
    assert cut.scores == (4.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (MemoryError(), FailureKind.OUT_OF_MEMORY),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            FailureKind.OUT_OF_MEMORY,
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureKind.OUT_OF_DEVICE_MEMORY),
    ],
)
def test_running_out_of_memory_says_what_to_lower(corridor_config, make_corridor, fault, kind) -> None:
    class Greedy(make_corridor):
        def send(self, actions) -> None:
            raise fault

    with pytest.raises(MemoryExhaustedError, match="Lower") as caught:
        train(corridor_config, vector=Greedy())
    assert caught.value.failure_kind is kind


def test_a_batch_that_no_machine_holds_is_refused_before_it_is_touched(
    corridor_config, make_corridor
) -> None:
    """Memory that is promised and not there kills the process, which can then say nothing."""
    settings = {"train.bptt_horizon": 2**40, "train.batch_size": 2**42, "train.minibatch_size": 2**40}
    with pytest.raises(MemoryExhaustedError, match=r"one batch takes [0-9.]+ GiB, and .* free") as caught:
        train(corridor_config.override(settings | {"train.total_timesteps": 2**42}), vector=make_corridor())
    assert caught.value.failure_kind is FailureKind.OUT_OF_MEMORY


def test_other_faults_keep_their_traceback(corridor_config, make_corridor) -> None:
    class Broken(make_corridor):
        def send(self, actions) -> None:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        train(corridor_config, vector=Broken())


def test_an_environment_without_agents_is_a_fault(corridor_config, make_corridor) -> None:
    class Empty(make_corridor):
        def recv(self):
            batch = super().recv()
            self.current = batch._replace(live=torch.zeros_like(batch.live))
            return self.current

    with pytest.raises(EnvironmentFault, match="absent"):
        train(corridor_config, vector=Empty())


def test_a_batch_that_is_no_multiple_of_the_agents_is_rounded_up(corridor_config, make_corridor) -> None:
    config = corridor_config.override({"train.batch_size": 40, "train.minibatch_size": 8})
    listener = Listener()
    train(config, listener, vector=make_corridor())
    assert listener.seen[0].agent_steps == 64
