"""The same seed gives the same bits, on every synchronous backend; other seeds give others."""

from __future__ import annotations

import pytest
import torch

from trainer import load_config, train
from trainer.checkpoint import load_checkpoint


def final_weights(config, folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(train(config, folder=folder).checkpoint).agent


def small(name: str, backend: str, device: str = "cpu", **settings):
    workers = {"vec.num_workers": 2} if backend == "Multiprocessing" else {}
    return load_config(name).override(
        {
            "vec.backend": backend,
            "vec.num_envs": 8,
            "vec.batch_size": 8,
            "train.device": device,
            "train.num_threads": 1,
            "train.bptt_horizon": 16,
            "train.minibatch_size": 64,
            "train.max_minibatch_size": 64,
            "train.total_timesteps": 128 * 3,
            **workers,
            **settings,
        }
    )


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("CartPole-v1", "Serial"),
        ("CartPole-v1", "Multiprocessing"),
        ("CartPole-v1", "PufferEnv"),
        ("Pendulum-v1", "Serial"),
        ("ocean/breakout", "PufferEnv"),
    ],
)
def test_the_same_seed_gives_the_same_bits(tmp_path, name, backend, device) -> None:
    config = small(name, backend, device)
    first, second = (final_weights(config, tmp_path / part) for part in "ab")
    assert same(first, second)
    for other in ({"train.seed": 7}, {"vec.seed": 7}):
        assert not same(first, final_weights(config.override(other), tmp_path / str(other)))


def test_worker_processes_change_nothing(tmp_path) -> None:
    serial, parallel = (
        final_weights(small("CartPole-v1", backend), tmp_path / backend)
        for backend in ("Serial", "Multiprocessing")
    )
    assert same(serial, parallel)


@pytest.mark.parametrize(
    "settings",
    [
        {"train.prio_alpha": 0.8, "train.optimizer": "muon"},
        {"base.rnn_name": "LSTMWrapper", "train.precision": "bfloat16"},
        {"train.cpu_offload": True, "policy.normalize_observations": True},
    ],
    ids=["muon and priorities", "lstm in bfloat16", "offload and statistics"],
)
def test_so_do_all_ways_of_learning(tmp_path, settings, device) -> None:
    config = small("ocean/cartpole", "PufferEnv", device, **settings)
    first, second = (final_weights(config, tmp_path / part) for part in "ab")
    assert same(first, second)


@pytest.mark.parametrize("settings", [{}, {"base.rnn_name": "LSTMWrapper"}, {"train.optimizer": "muon"}])
def test_offloading_changes_no_bit(tmp_path, settings, device) -> None:
    config = small("ocean/breakout", "PufferEnv", device, **settings)
    inside, outside = (
        final_weights(config.override({"train.cpu_offload": offload}), tmp_path / str(offload))
        for offload in (False, True)
    )
    assert same(inside, outside)


def test_a_dirty_generator_outside_changes_nothing(tmp_path) -> None:
    config = small("ocean/cartpole", "PufferEnv")
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.rand(seed)
        ends.append(final_weights(config, tmp_path / str(seed)))
    assert same(*ends)


@pytest.mark.gpu
def test_offloaded_observations_lie_outside_the_device() -> None:
    from trainer.envs.layout import ActionLayout, ObservationLayout
    from trainer.policies import make_distribution
    from trainer.ppo.buffer import RolloutBuffer

    layout = ObservationLayout((4, 84, 84), torch.uint8)
    distribution = make_distribution(ActionLayout("discrete", sizes=(4,)))
    device = torch.device("cuda")
    sizes = {}
    for offload in (False, True):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        buffer = RolloutBuffer.allocate(64, 64, layout, distribution, (), device, offload=offload)
        sizes[offload] = torch.cuda.memory_allocated() - before
        assert buffer.observations.device.type == ("cpu" if offload else "cuda")
        del buffer
    assert sizes[False] - sizes[True] >= 64 * 64 * 4 * 84 * 84
