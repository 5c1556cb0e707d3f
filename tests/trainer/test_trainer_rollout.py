"""Where every number of a rollout ends up, on an environment and an agent that can be foretold."""

from __future__ import annotations

import pytest
import torch

from trainer.envs.layout import ActionLayout
from trainer.policies import make_distribution
from trainer.policies.base import Agent
from trainer.ppo.buffer import RolloutBuffer
from trainer.ppo.rollout import Collector
from trainer.vector.base import FinalObservations, StepBatch


class Counter(Agent):
    """Values are 10 x the first number of the observation; its state counts steps since the episode began."""

    def __init__(self, remembers: bool = False) -> None:
        super().__init__()
        self.remembers = remembers

    def initial_state(self, num_rows, device):
        return (torch.zeros(num_rows, 1),) if self.remembers else ()

    def step(self, observations, state):
        scores = torch.zeros(len(observations), 2)
        return scores, observations[:, 0] * 10, tuple(part + 1 for part in state)

    def forward(self, observations, state, resets):
        raise NotImplementedError


def collect(vector, *, horizon=8, rounds=1, times=1, remembers=False, seed=0):
    agent = Counter(remembers)
    distribution = make_distribution(ActionLayout("discrete", sizes=(2,)))
    generator = torch.Generator().manual_seed(seed)
    collector = Collector(
        vector, agent, distribution, horizon=horizon, rounds=rounds, generator=generator, on_step=lambda: None
    )
    collector.begin(5)
    buffers = []
    for _ in range(times):
        buffer = RolloutBuffer.allocate(
            horizon,
            rounds * vector.num_agents,
            vector.observation_layout,
            distribution,
            agent.initial_state(1, torch.device("cpu")),
            torch.device("cpu"),
        )
        episodes, _ = collector.collect(buffer)
        buffers.append((buffer, episodes))
    return buffers


def check_story(buffer: RolloutBuffer, length: int, limit: int) -> None:
    """Every step follows from the one before by the corridor's rules."""
    place = (buffer.observations[..., 0] * length).round().long()
    clock = (buffer.observations[..., 1] * limit).round().long()
    moved = (place + 2 * buffer.actions[..., 0] - 1).clamp(min=0)
    assert torch.equal(buffer.terminated, moved >= length)
    assert torch.equal(buffer.truncated, (moved < length) & (clock + 1 >= limit))
    assert torch.equal(buffer.rewards, buffer.terminated.float())
    ended = buffer.terminated | buffer.truncated
    going_on = ~ended[:-1]
    assert torch.equal(place[1:][going_on], moved[:-1][going_on])
    assert torch.equal(clock[1:][going_on], clock[:-1][going_on] + 1)
    assert (clock[1:][ended[:-1]] == 0).all()
    assert torch.equal(buffer.resets[1:], ended[:-1])
    torch.testing.assert_close(buffer.values, buffer.observations[..., 0] * 10)
    assert (buffer.following_values[buffer.terminated] == 0).all()
    # A truncated episode is worth what its last observation was, not the first of the next episode.
    final = (moved / length * 10)[buffer.truncated]
    torch.testing.assert_close(buffer.following_values[buffer.truncated], final)
    last = ~ended[-1]
    torch.testing.assert_close(buffer.following_values[-1][last], (moved / length * 10)[-1][last])
    torch.testing.assert_close(buffer.log_probs, torch.full_like(buffer.log_probs, -0.6931472))


def test_every_step_is_in_its_place(make_corridor) -> None:
    for buffer, _ in collect(make_corridor(num_envs=6), times=3):
        check_story(buffer, 4, 12)
        assert buffer.live.all()


def test_rollouts_follow_each_other_without_a_gap(make_corridor) -> None:
    (first, _), (second, _) = collect(make_corridor(num_envs=6, limit=1000, length=100), times=2)
    moved = (first.observations[-1, :, 0] * 100 + 2 * first.actions[-1, :, 0] - 1).clamp(min=0)
    torch.testing.assert_close(second.observations[0, :, 0] * 100, moved)
    torch.testing.assert_close(first.following_values[-1], second.values[0])


def test_several_rounds_are_one_long_rollout_cut_up(make_corridor) -> None:
    ((long, _),) = collect(make_corridor(), horizon=12)
    ((cut, _),) = collect(make_corridor(), horizon=4, rounds=3)
    check_story(cut, 4, 12)
    for name in ("observations", "actions", "rewards", "terminated", "resets"):
        whole, parts = getattr(long, name), getattr(cut, name)
        assert torch.equal(whole, torch.cat(parts.split(4, dim=1))), name


@pytest.mark.parametrize(
    "order",
    [
        [0, 1] * 20,
        [0, 0, 1, 1, 1, 0] * 8,
        [1] * 25 + [0] * 25 + [1] * 8 + [0] * 8,
    ],
)
def test_groups_that_run_ahead_lose_no_step(make_corridor, order) -> None:
    vector = make_corridor(num_envs=4, groups=2, order=list(order), limit=1000, length=100)
    buffers = [buffer for buffer, _ in collect(vector, horizon=4, rounds=2, times=3)]
    for buffer in buffers:
        check_story(buffer, 100, 1000)
    clocks = torch.cat(
        [torch.cat((buffer.observations[..., 1] * 1000).split(4, dim=1)) for buffer in buffers]
    )
    assert torch.equal(clocks.round().long(), torch.arange(24).unsqueeze(1).expand(24, 4))


def test_the_state_begins_anew_with_every_episode(make_corridor) -> None:
    (first, _), (second, _) = collect(make_corridor(num_envs=6), times=2, remembers=True)
    assert (first.states[0] == 0).all()
    # The state at the start of the second rollout counts the steps since the last end in the first.
    ended = first.terminated | first.truncated
    for row in range(6):
        ends = ended[:, row].nonzero()
        expected = 8 if len(ends) == 0 else 7 - int(ends[-1])
        assert second.states[0][row].item() == expected


def test_episodes_are_told_once(make_corridor) -> None:
    vector = make_corridor(num_envs=6)
    ((buffer, episodes),) = collect(vector, horizon=40)
    ended = buffer.terminated | buffer.truncated
    assert len(torch.cat(episodes.returns)) == ended.sum()
    assert torch.cat(episodes.returns).sum() == buffer.terminated.sum()


def test_dead_steps_are_kept_apart(make_corridor) -> None:
    class WithDeadSteps(make_corridor):
        """The third batch after a reset is a dummy step for row 0, whose episode was truncated before it."""

        def send(self, actions) -> None:
            super().send(actions)
            batch = self.batches.pop()
            count = self.num_steps // self.num_envs
            first = torch.tensor([True, False])
            none = torch.zeros(2, dtype=torch.bool)
            self.batches.append(
                StepBatch(
                    0,
                    2,
                    batch.observations,
                    torch.zeros(2),
                    none,
                    first if count == 2 else none,
                    ~first if count == 3 else ~none,
                    FinalObservations(torch.tensor([0]), torch.tensor([[0.7, 0.0]])) if count == 2 else None,
                )
            )

    vector = WithDeadSteps(num_envs=2, limit=1000, length=100)
    ((buffer, _),) = collect(vector, horizon=6, remembers=True)
    assert buffer.live[:, 0].tolist() == [True, True, False, True, True, True]
    assert buffer.live[:, 1].all()
    assert buffer.resets[:, 0].tolist() == [True, False, True, True, False, False]
    assert buffer.following_values[1, 0].item() == pytest.approx(7.0)
    transitions = buffer.transitions()
    assert transitions.cut[:, 0].tolist() == [False, True, True, False, False, False]
