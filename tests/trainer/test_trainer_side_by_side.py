"""Shares of a batch on several threads, and images that lie channels last: the same numbers as the plain way."""

from __future__ import annotations

import pytest
import torch

from trainer import acceleration
from trainer.config import Config
from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.policies import make_distribution, make_policy
from trainer.ppo.images import allocate_images, choose_segments, put_observations
from trainer.ppo.loss import LossCoefficients
from trainer.ppo.rollout import Collector, act
from trainer.ppo.side_by_side import act_side_by_side, backpropagate_side_by_side
from trainer.ppo.update import Piece, backpropagate_piece
from trainer.team import Team

PIXELS = ObservationLayout((4, 36, 36), torch.uint8, 0.0, 255.0)
ACTIONS = ActionLayout("discrete", sizes=(3, 2))


def agent_of(rnn: str | None = None, policy: str = "Convolutional"):
    torch.manual_seed(2)
    config = Config().override({"base.policy_name": policy, "base.rnn_name": rnn, "train.device": "cpu"})
    return make_policy(config, PIXELS, ACTIONS)


def piece_of(agent, steps: int, segments: int) -> Piece:
    torch.manual_seed(3)
    shape = (steps, segments)
    return Piece(
        observations=torch.randint(0, 256, (*shape, *PIXELS.shape), dtype=torch.uint8),
        states=tuple(
            torch.randn(segments, part.shape[1]) for part in agent.initial_state(1, torch.device("cpu"))
        ),
        resets=torch.rand(shape) < 0.2,
        actions=torch.stack([torch.randint(0, size, shape) for size in ACTIONS.sizes], -1),
        old_log_probs=-torch.rand(shape),
        old_values=torch.randn(shape),
        advantages=torch.randn(shape),
        returns=torch.randn(shape),
        live=torch.ones(shape),
    )


@pytest.mark.parametrize("policy", ["Convolutional", "ProcgenResnet"])
@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
@pytest.mark.parametrize(("steps", "segments", "size"), [(4, 3, 2), (5, 4, 3), (1, 1, 2)])
def test_learning_in_shares(policy, rnn, steps, segments, size) -> None:
    agent = agent_of(rnn, policy) if policy == "Convolutional" or rnn is None else None
    if agent is None:
        config = Config().override(
            {"base.policy_name": policy, "base.rnn_name": rnn, "rnn.input_size": 256, "rnn.hidden_size": 256}
        )
        agent = make_policy(config, PIXELS, ACTIONS)
    distribution, piece = make_distribution(ACTIONS), piece_of(agent, steps, segments)
    coefficients = LossCoefficients(*(torch.tensor(value) for value in (0.2, 0.5, 0.2, 0.01)))
    weight = torch.tensor(float(steps * segments))

    def learn(backpropagate):
        agent.zero_grad(set_to_none=True)
        for _ in range(2):
            answer = backpropagate(agent, distribution, piece, coefficients, weight)
        return answer, [parameter.grad.clone() for parameter in agent.parameters()]

    expected, right = learn(backpropagate_piece)
    got, gradients = learn(backpropagate_side_by_side(Team(size)))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for one, other in zip(gradients, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_acting_in_shares(rnn, rows) -> None:
    agent, distribution = agent_of(rnn), make_distribution(ACTIONS)
    observations = torch.randint(0, 256, (rows, *PIXELS.shape), dtype=torch.uint8)
    state = tuple(torch.randn(rows, part.shape[1]) for part in agent.initial_state(1, torch.device("cpu")))
    arguments = (agent, distribution, observations, state, torch.rand(rows) < 0.5, torch.rand(rows, 2))
    with torch.no_grad():
        expected = act(*arguments)
        got = act_side_by_side(Team(2), 3)(*arguments)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_team_raises_when_all_have_ended() -> None:
    ended = []

    def fail() -> None:
        raise RuntimeError("planted")

    for jobs in ([fail, lambda: ended.append(1)], [lambda: ended.append(1), fail]):
        threads = torch.get_num_threads()
        with pytest.raises(RuntimeError, match="planted"):
            Team(2).run(jobs)
        assert torch.get_num_threads() == threads
    assert ended == [1, 1]


@pytest.mark.parametrize("channels", [1, 3, 4, 8])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_keep_their_pixels_in_any_order(channels, dtype) -> None:
    frames = torch.randint(0, 256, (2, 5, channels, 7, 9)).to(dtype)
    buffer = allocate_images((2, 5), (channels, 7, 9), dtype, torch.device("cpu"))
    for step in range(2):
        put_observations(frames[step, :3], buffer[step, :3])
        put_observations(frames[step, 3:], buffer[step, 3:])
    assert torch.equal(buffer, frames)
    columns = torch.tensor([4, 0, 2])
    chosen = choose_segments(buffer, columns)
    assert torch.equal(chosen, frames[:, columns])
    assert torch.equal(choose_segments(frames, columns), frames[:, columns])
    # Turned round once, when they came in: what learning takes lies channels last already.
    assert chosen.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_who_shares_a_batch(make_corridor) -> None:
    settings, vector = Config().train, make_corridor()
    agent, distribution = agent_of(), make_distribution(ACTIONS)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        paths = acceleration.choose_paths(settings, agent, distribution, vector)
        assert paths.backpropagate is not backpropagate_piece
        torch.set_num_threads(1)
        paths = acceleration.choose_paths(settings, agent, distribution, vector)
        assert paths == acceleration.HotPaths(Collector, backpropagate_piece)
    finally:
        torch.set_num_threads(threads)
