"""Every quick way of computing does what the plain way does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import acceleration, train
from trainer.config import Config
from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.policies import make_distribution, make_policy
from trainer.policies.perceptron import Perceptron
from trainer.ppo.buffer import RolloutBuffer
from trainer.ppo.by_hand import backpropagate_by_hand
from trainer.ppo.deferred_rollout import DeferringCollector
from trainer.ppo.loss import LossCoefficients
from trainer.ppo.rollout import Collector
from trainer.ppo.update import Piece, backpropagate_piece, clip_gradients
from trainer.records import Directive

TWO = ActionLayout("discrete", sizes=(2,))
FIVE = ActionLayout("discrete", sizes=(5,))
SEVERAL = ActionLayout("discrete", sizes=(3, 2, 4))
VECTOR = ObservationLayout((3,), torch.float32)


def perceptron(actions: ActionLayout, observations: ObservationLayout = VECTOR, seed: int = 0, **policy):
    torch.manual_seed(seed)
    settings = {"policy.hidden_size": 16} | {f"policy.{name}": value for name, value in policy.items()}
    agent = make_policy(Config().override(settings), observations, actions)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return agent, make_distribution(actions)


def random_piece(actions: ActionLayout, steps: int, segments: int) -> Piece:
    shape = (steps, segments)
    chosen = torch.stack([torch.randint(0, size, shape) for size in actions.sizes], -1)
    return Piece(
        observations=torch.randn(*shape, 3),
        states=(),
        resets=torch.zeros(shape, dtype=torch.bool),
        actions=chosen,
        old_log_probs=-torch.rand(shape) * 3,
        old_values=torch.randn(shape),
        advantages=torch.randn(shape),
        returns=torch.randn(shape),
        live=(torch.rand(shape) > 0.1).float(),
    )


def gradients_of(agent, backpropagate, pieces, distribution, coefficients):
    for parameter in agent.parameters():
        parameter.grad = None
    answers = [
        backpropagate(agent, distribution, piece, coefficients, torch.tensor(50.0)) for piece in pieces
    ]
    return answers, [parameter.grad.clone() for parameter in agent.parameters()]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    actions=st.sampled_from([TWO, FIVE, SEVERAL]),
    activation=st.sampled_from(["relu", "tanh"]),
    num_layers=st.integers(1, 3),
    steps=st.integers(1, 5),
    segments=st.integers(1, 40),
    chunk=st.sampled_from([16, 200, 100_000]),
)
def test_gradients_by_hand_are_those_of_autograd(
    seed, actions, activation, num_layers, steps, segments, chunk
):
    agent, distribution = perceptron(actions, seed=seed, activation=activation, num_layers=num_layers)
    pieces = [random_piece(actions, steps, segments) for _ in range(2)]
    coefficients = LossCoefficients(*(torch.tensor(value) for value in (0.2, 0.7, 0.3, 0.05)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.policies.perceptron.CHUNK_NUMBERS", chunk)
        quick = backpropagate_by_hand(Perceptron(agent, distribution))
        answers, gradients = gradients_of(agent, quick, pieces, distribution, coefficients)
    expected, right = gradients_of(agent, backpropagate_piece, pieces, distribution, coefficients)
    for answer, one in zip(answers, expected, strict=True):
        for got, wanted in zip(answer, one, strict=True):
            torch.testing.assert_close(got, wanted, rtol=2e-5, atol=2e-5)
    for got, wanted in zip(gradients, right, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def collect(kind, vector, agent, distribution, *, horizon, rounds, times):
    collector = kind(
        vector,
        agent,
        distribution,
        horizon=horizon,
        rounds=rounds,
        generator=torch.Generator().manual_seed(3),
        on_step=lambda: None,
    )
    collector.begin(5)
    buffers, episodes = [], []
    for _ in range(times):
        buffer = RolloutBuffer.allocate(
            horizon,
            rounds * vector.num_agents,
            vector.observation_layout,
            distribution,
            (),
            torch.device("cpu"),
        )
        episodes.append(collector.collect(buffer)[0])
        buffers.append(buffer)
    return buffers, episodes, collector


@pytest.mark.parametrize(("horizon", "rounds"), [(8, 1), (1, 1), (5, 3), (40, 2)])
def test_a_deferred_rollout_is_the_plain_one(make_corridor, horizon, rounds) -> None:
    agent, distribution = perceptron(TWO, ObservationLayout((2,), torch.float32))
    shape = {"horizon": horizon, "rounds": rounds, "times": 3}
    plain, plain_episodes, one = collect(Collector, make_corridor(num_envs=6), agent, distribution, **shape)
    network = Perceptron(agent, distribution)

    def deferring(*arguments, **settings):
        return DeferringCollector(
            *arguments, make_chooser=network.chooser, evaluate=network.evaluate, **settings
        )

    quick, quick_episodes, other = collect(deferring, make_corridor(num_envs=6), agent, distribution, **shape)
    for expected, got in zip(plain, quick, strict=True):
        for name in RolloutBuffer.__slots__:
            if name != "states":
                torch.testing.assert_close(getattr(got, name), getattr(expected, name), msg=name)
    for expected, got in zip(plain_episodes, quick_episodes, strict=True):
        assert [part.tolist() for part in expected.returns] == [part.tolist() for part in got.returns]
        assert [part.tolist() for part in expected.lengths] == [part.tolist() for part in got.lengths]
    assert torch.equal(one.resets, other.resets)


def test_one_place_chooses(make_corridor, corridor_config) -> None:
    vector = make_corridor()
    agent, distribution = perceptron(TWO, vector.observation_layout)
    paths = acceleration.choose_paths(corridor_config.train, agent, distribution, vector)
    assert paths.one_thread
    assert paths.make_collector.func is DeferringCollector
    groups = acceleration.choose_paths(
        corridor_config.train, agent, distribution, make_corridor(num_envs=4, groups=2)
    )
    assert groups.make_collector.func is Collector
    wide, distribution = perceptron(TWO, vector.observation_layout, hidden_size=1024)
    paths = acceleration.choose_paths(corridor_config.train, wide, distribution, vector)
    assert paths == acceleration.HotPaths(Collector, backpropagate_piece)


def test_a_whole_run_is_the_same_either_way(make_corridor, corridor_config, monkeypatch) -> None:
    def run() -> list[dict[str, float]]:
        seen = []

        def watch(progress) -> Directive:
            seen.append(
                {k: v for k, v in progress.metrics.items() if k.startswith(("losses/", "environment/"))}
            )
            return Directive.CONTINUE

        train(corridor_config, watch, vector=make_corridor())
        return seen

    quick = run()
    monkeypatch.setattr(Perceptron, "fits", staticmethod(lambda agent, distribution: False))
    for got, expected in zip(quick, run(), strict=True):
        assert got == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_threads_are_put_back_after_a_run(make_corridor, corridor_config) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        train(corridor_config.override({"train.num_threads": 2}), vector=make_corridor())
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("max_norm", [0.1, 1e6])
def test_clipping_is_torch_s_own(max_norm) -> None:
    def parameters():
        torch.manual_seed(1)
        made = [torch.randn(3, 4, requires_grad=True), torch.randn(7, requires_grad=True)]
        for one in made:
            one.grad = torch.randn_like(one)
        return made

    ours, theirs = parameters(), parameters()
    length = clip_gradients(ours, max_norm)
    torch.testing.assert_close(length, torch.nn.utils.clip_grad_norm_(theirs, max_norm))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
