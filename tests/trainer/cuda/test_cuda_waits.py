"""How often the host waits for the device in an epoch: once."""

from __future__ import annotations

import itertools

import pytest
import torch

from trainer import train
from trainer.config import Config
from trainer.cuda.advantage import advantages_by_scan
from trainer.cuda.capture import NoCapture
from trainer.cuda.engine import Engine, Ways
from trainer.ppo.rollout import act
from trainer.ppo.update import piece_gradients

LOOKS = ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "nonzero")
EPOCHS = 4


def make_config(**changes) -> Config:
    config = Config(
        base={"package": "ocean", "env_name": "breakout"},
        vec={"num_envs": 8},
        policy={"hidden_size": 16, "normalize_observations": True},
        train={"bptt_horizon": 8, "minibatch_size": 32, "device": "cpu", "total_timesteps": 64 * EPOCHS},
    )
    return config.override(changes)


@pytest.fixture
def engines_on_the_cpu(monkeypatch):
    """Runs on the CPU take the way that is CUDA's, step by step."""
    from trainer import parts

    made = []

    def borrow(config, vector, device, plan, horizon, rounds, make_memory):
        vector.environment.draws.by_numpy = False
        ways = Ways(NoCapture("a test"), act, piece_gradients, advantages_by_scan)
        made.append(Engine(make_memory(), plan, horizon=horizon, rounds=rounds, ways=ways))
        return made[-1], "on the CPU as on CUDA"

    monkeypatch.setattr(parts, "borrow_engine", borrow)
    monkeypatch.setattr(parts, "give_engine_back", lambda engine, broken: None)
    return made


def test_one_look_at_numbers_an_epoch(engines_on_the_cpu, monkeypatch) -> None:
    looks = []

    def counted(name, original):
        def look(tensor, *arguments, **settings):
            looks.append(name)
            return original(tensor, *arguments, **settings)

        return look

    at = []
    for name in LOOKS:
        monkeypatch.setattr(torch.Tensor, name, counted(name, getattr(torch.Tensor, name)))
    train(make_config(), lambda progress: at.append(len(looks)))
    assert engines_on_the_cpu
    per_epoch = [after - before for before, after in itertools.pairwise(at)]
    assert per_epoch == [1] * (EPOCHS - 1), looks


def test_the_way_of_cuda_learns_what_the_plain_way_does(engines_on_the_cpu) -> None:
    seen = []
    result = train(make_config(), seen.append)
    assert result.agent_steps == 64 * EPOCHS
    assert result.facts["steps"] == "on the CPU as on CUDA; not captured: a test"
    assert all("losses/policy" in progress.metrics for progress in seen)


def test_a_run_resumes_on_static_memory_bit_by_bit(engines_on_the_cpu, tmp_path) -> None:
    from trainer.checkpoint import load_checkpoint
    from trainer.records import Directive

    config = make_config()
    whole = train(config, folder=tmp_path / "whole")
    half = train(
        config,
        lambda p: Directive.PAUSE if p.epoch == 2 else Directive.CONTINUE,
        folder=tmp_path / "half",
    )
    rest = train(config, folder=tmp_path / "half", resume_from=half.checkpoint)
    one, other = load_checkpoint(whole.checkpoint), load_checkpoint(rest.checkpoint)
    for name, tensor in one.agent.items():
        assert torch.equal(tensor, other.agent[name]), name
