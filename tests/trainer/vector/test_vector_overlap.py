"""Environments that step between `send` and `recv`, actions on their way to them, and tensors that hang."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from trainer.config import Config
from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.envs.ocean.recipe import OceanRecipe
from trainer.envs.shard import (
    QUIET,
    EpisodeCounter,
    FaultyEnvironmentError,
    OverlappingShard,
    Report,
    Slots,
)
from trainer.errors import EnvironmentFault, EnvironmentMakeError
from trainer.vector import make_vector
from trainer.vector.actors import _begin
from trainer.vector.carrier import ActionCarrier
from trainer.vector.local import LocalVectorEnv
from trainer.vector.tensors import TensorVectorEnv

DISCRETE = ActionLayout("discrete", sizes=(4,))
LAYOUT = ObservationLayout((1,), torch.float32, -1.0, 1e9)


class Slow(OverlappingShard):
    """Adds the actions up, once somebody waits for it; action 3 is refused, 2 breaks."""

    def __init__(self) -> None:
        self.num_envs = 2
        self.action_layout = DISCRETE
        self.cursor = np.full(1, -1, np.int64)
        self.calls: list[str] = []
        self._sums = np.zeros((2, 1), np.float32)

    @property
    def observation_layout(self) -> ObservationLayout:
        return LAYOUT

    def reset(self, seed: int, slots: Slots) -> None:
        self.calls.append("reset")
        self._sums[...] = seed
        slots.begin()
        slots.observations[...] = self._sums

    def begin(self, actions) -> None:
        self.calls.append("begin")
        if (actions == 3).any():
            raise FaultyEnvironmentError(0, "was given a 3")
        self._actions = actions.copy()

    def finish(self, slots: Slots) -> Report:
        self.calls.append("finish")
        if (self._actions == 2).any():
            raise FaultyEnvironmentError(1, "broke")
        self._sums += self._actions
        slots.observations[...] = self._sums
        return QUIET

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def slow():
    shard = Slow()
    env = LocalVectorEnv(shard, torch.device("cpu"), "PufferEnv")
    yield env, shard
    env.close()


def chosen(first: int, second: int) -> torch.Tensor:
    return torch.tensor([[first], [second]])


def test_a_step_is_waited_for_when_its_batch_is_wanted(slow):
    env, shard = slow
    env.reset(10)
    env.recv()
    env.send(chosen(0, 1))
    assert shard.calls == ["reset", "begin"]
    assert env.recv().observations[:, 0].tolist() == [10.0, 11.0]
    assert shard.calls == ["reset", "begin", "finish"]


def test_whoever_looks_in_between_sees_the_step(slow):
    env, _ = slow
    env.reset(10)
    env.recv()
    env.send(chosen(1, 1))
    assert env.peek()[:, 0].tolist() == [11.0, 11.0]
    assert env.recv().observations[:, 0].tolist() == [11.0, 11.0]


def test_a_reset_waits_for_the_step_under_way(slow):
    env, shard = slow
    env.reset(10)
    env.recv()
    env.send(chosen(1, 1))
    env.reset(20)
    assert shard.calls == ["reset", "begin", "finish", "reset"]
    assert env.recv().observations[:, 0].tolist() == [20.0, 20.0]


@pytest.mark.parametrize("action", [2, 3])
def test_a_fault_comes_out_of_recv(slow, action):
    env, _ = slow
    env.reset(10)
    env.recv()
    env.send(chosen(action, 0))
    for _ in range(2):
        with pytest.raises(EnvironmentFault, match=r"Environment [01] "):
            env.recv()


def test_the_order_of_calls_is_kept(slow):
    env, _ = slow
    with pytest.raises(RuntimeError, match="before reset"):
        env.recv()
    env.reset(10)
    env.recv()
    env.send(chosen(0, 0))
    with pytest.raises(RuntimeError, match="before recv"):
        env.send(chosen(0, 0))


def test_the_counter_counts_what_adding_up_by_hand_does():
    random = np.random.default_rng(3)
    rows = 5
    counter, slots = EpisodeCounter(rows), Slots.allocate(rows, LAYOUT)
    counter.begin()
    returns, lengths = np.zeros(rows), np.zeros(rows, np.int64)
    quiet_before = False
    for _ in range(500):
        rewards = random.integers(-2, 3, rows) * (random.random() < 0.5)
        ended = random.random(rows) < (0.2 if random.random() < 0.3 else 0.0)
        live = random.random(rows) < 0.8
        returns += rewards
        if quiet_before and not ended.any():
            lengths += 1
            counter.pass_time(rewards if rewards.any() else None)
            continue
        lengths += live
        quiet_before = not counter.count(rewards, ended, slots, live)
        assert (slots.ended == ended).all()
        assert (slots.returns[ended] == returns[ended]).all()
        assert (slots.lengths[ended] == lengths[ended]).all()
        returns[ended] = lengths[ended] = 0


class TestCarrier:
    def test_actions_come_as_they_are(self):
        carrier = ActionCarrier(DISCRETE, 2)
        assert carrier.fetch(chosen(1, 3)).tolist() == [[1], [3]]
        assert carrier.fetch(chosen(1, 3).int()).dtype == np.int64

    def test_continuous_actions_are_clipped(self):
        carrier = ActionCarrier(ActionLayout("continuous", low=(-1.0, 0.0), high=(1.0, 2.0)), 1)
        assert carrier.fetch(torch.tensor([[-3.0, 9.0]])).tolist() == [[-1.0, 2.0]]

    def test_the_wrong_shape_is_our_bug(self):
        carrier = ActionCarrier(DISCRETE, 2)
        for way in (carrier.fetch, carrier.start):
            with pytest.raises(ValueError, match="expected"):
                way(torch.zeros(3, 1, dtype=torch.int64))

    def test_what_is_under_way_is_not_written_over(self):
        actions = chosen(1, 3)
        arrive = ActionCarrier(DISCRETE, 2).start(actions)
        actions.zero_()
        assert arrive().tolist() == [[1], [3]]

    @pytest.mark.gpu
    def test_from_a_gpu_by_an_event(self):
        actions = chosen(1, 3).cuda()
        carrier = ActionCarrier(DISCRETE, 2)
        arrive = carrier.start(actions)
        actions.zero_()
        assert arrive().tolist() == [[1], [3]]
        assert carrier.fetch(chosen(2, 0).cuda()).tolist() == [[2], [0]]


def test_tensors_that_hang_are_a_fault_too():
    batch = OceanRecipe("squared", {}).make_batch(4, torch.device("cpu"))
    env = TensorVectorEnv(batch, timeout_seconds=0.2)
    env.reset(1)
    env.recv()
    for_ever = threading.Event()

    def hang(actions):
        while not for_ever.is_set():
            time.sleep(0.001)

    batch.advance = hang
    try:
        env.send(torch.zeros(4, 1, dtype=torch.int64))
        with pytest.raises(
            EnvironmentFault, match=r"One of the environments 0 to 3 \(PufferEnv\) has not come back"
        ):
            env.recv()
    finally:
        for_ever.set()
        env.close()


def test_ocean_keeps_to_the_timeout_of_the_config():
    config = Config(
        base={"package": "ocean", "env_name": "squared"}, vec={"num_envs": 2, "timeout_seconds": 7.0}
    )
    env = make_vector(config, "cpu")
    try:
        assert env._watchdog.patience_seconds == pytest.approx(0.95 * 7.0)
    finally:
        env.close()


@pytest.mark.parametrize("error", [ConnectionError("refused"), Exception("The current node timed out")])
def test_a_ray_that_does_not_begin_is_a_sentence(error):
    class Ray:
        def init(self, **options):
            raise error

    with pytest.raises(EnvironmentMakeError, match=f"No Ray answers: {error}"):
        _begin(Ray())
