"""Policies, the LSTM wrapper and the action distributions."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import Config
from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.errors import ConfigError, InfeasibleConfigError, UnknownNameError
from trainer.policies import FeedForward, ObservationNormaliser, make_distribution, make_policy
from trainer.policies.lstm import LSTMWrapper
from trainer.policies.perceptron import Perceptron
from trainer.ppo.rollout import act

PIXELS = ObservationLayout((4, 84, 84), torch.uint8)
VECTOR = ObservationLayout((3,), torch.float32)
DISCRETE = ActionLayout("discrete", sizes=(4,))
MULTI = ActionLayout("multi_discrete", sizes=(3, 2, 5))
CONTINUOUS = ActionLayout("continuous", low=(-1.0, -2.0), high=(1.0, 2.0))


def config(**values) -> Config:
    return Config().override({name.replace("__", "."): value for name, value in values.items()})


@pytest.mark.parametrize("actions", [DISCRETE, MULTI, CONTINUOUS])
@pytest.mark.parametrize(
    ("policy", "observations"),
    [
        ("Policy", VECTOR),
        ("Policy", PIXELS),
        ("Convolutional", PIXELS),
        ("Convolutional", ObservationLayout((1, 36, 50), torch.float32)),
        ("ProcgenResnet", ObservationLayout((3, 64, 64), torch.uint8)),
        ("ProcgenResnet", ObservationLayout((64, 64, 3), torch.uint8)),
    ],
)
@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
def test_every_policy_fits_every_action(policy, observations, actions, rnn) -> None:
    agent = make_policy(config(base__policy_name=policy, base__rnn_name=rnn), observations, actions)
    distribution = make_distribution(actions)
    batch = torch.zeros((2, 3, *observations.shape), dtype=observations.dtype)
    state = agent.initial_state(3, torch.device("cpu"))
    scores, values, after = agent.step(batch[0], state)
    assert scores.shape == (3, distribution.num_scores)
    assert values.shape == (3,)
    assert len(after) == len(state)
    chosen = distribution.sample(scores, distribution.draw_noise((3,), torch.Generator()))
    assert chosen.shape == (3, actions.width)
    assert chosen.dtype == distribution.dtype
    many, many_values = agent(batch, state, torch.zeros(2, 3, dtype=torch.bool))
    assert many.shape == (2, 3, distribution.num_scores)
    assert many_values.shape == (2, 3)
    torch.testing.assert_close(many[0], scores, rtol=1e-4, atol=1e-5)


def test_bytes_are_scaled_to_one() -> None:
    torch.manual_seed(0)
    by_bytes = make_policy(config(base__policy_name="Convolutional"), PIXELS, DISCRETE)
    floats = ObservationLayout((4, 84, 84), torch.float32)
    by_floats = make_policy(config(base__policy_name="Convolutional"), floats, DISCRETE)
    by_floats.load_state_dict(by_bytes.state_dict())
    frames = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    for got, expected in zip(
        by_bytes.step(frames, ()), by_floats.step(frames.float() / 255, ()), strict=True
    ):
        if isinstance(got, torch.Tensor):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_exploration_begins_nearly_uniform() -> None:
    agent = make_policy(config(), VECTOR, DISCRETE)
    scores, _, _ = agent.step(torch.randn(50, 3), ())
    assert scores.abs().max() < 0.1


@pytest.mark.parametrize("steps", [1, 5])
def test_the_lstm_in_training_does_what_it_did_step_by_step(steps) -> None:
    torch.manual_seed(1)
    agent = make_policy(config(base__rnn_name="LSTMWrapper", policy__hidden_size=8), VECTOR, DISCRETE)
    observations = torch.randn(steps, 6, 3)
    resets = torch.rand(steps, 6) < 0.3
    start = tuple(torch.randn(6, 8) for _ in range(2))
    state, scores, values = start, [], []
    for step in range(steps):
        state = tuple(part * (~resets[step]).unsqueeze(1) for part in state)
        one, value, state = agent.step(observations[step], state)
        scores.append(one)
        values.append(value)
    together, together_values = agent(observations, start, resets)
    torch.testing.assert_close(together, torch.stack(scores))
    torch.testing.assert_close(together_values, torch.stack(values))


def test_gradients_flow_through_the_segment_but_not_across_episodes() -> None:
    torch.manual_seed(1)
    agent = make_policy(config(base__rnn_name="LSTMWrapper", policy__hidden_size=8), VECTOR, DISCRETE)
    observations = torch.randn(6, 2, 3, requires_grad=True)
    resets = torch.zeros(6, 2, dtype=torch.bool)
    resets[3, 1] = True
    _, values = agent(observations, agent.initial_state(2, torch.device("cpu")), resets)
    values[-1].sum().backward()
    reached = observations.grad.abs().sum(2) > 0
    assert reached[:, 0].all()
    assert reached[:, 1].tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("actions", [DISCRETE, CONTINUOUS])
def test_a_separate_critic_shares_nothing_with_the_actor(actions) -> None:
    settings = {"policy__separate_critic": True, "policy__hidden_size": 8, "policy__num_layers": 2}
    agent = make_policy(config(**settings), VECTOR, actions)
    scores, values, _ = agent.step(torch.randn(5, 3), ())
    assert scores.shape == (5, make_distribution(actions).num_scores)
    of_scores = torch.autograd.grad(
        scores.sum(), list(agent.parameters()), allow_unused=True, retain_graph=True
    )
    of_values = torch.autograd.grad(values.sum(), list(agent.parameters()), allow_unused=True)
    for by_scores, by_values in zip(of_scores, of_values, strict=True):
        reaches = [gradient is not None and bool(gradient.any()) for gradient in (by_scores, by_values)]
        assert sorted(reaches) == [False, True]
    assert scores[:, : actions.width].abs().max() < 0.1


@pytest.mark.parametrize("separate", [False, True])
def test_a_scale_multiplies_the_value_alone(separate) -> None:
    settings = {"policy__separate_critic": separate, "policy__hidden_size": 8}
    agents = []
    for scale in (1.0, 100.0):
        torch.manual_seed(3)
        agents.append(make_policy(config(policy__value_scale=scale, **settings), VECTOR, DISCRETE))
    observations = torch.randn(5, 3)
    (scores, values, _), (same, scaled, _) = (agent.step(observations, ()) for agent in agents)
    assert torch.equal(scores, same)
    torch.testing.assert_close(scaled, 100.0 * values)
    assert not Perceptron.fits(agents[1], make_distribution(DISCRETE))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf")])
def test_a_scale_of_values_is_positive(scale) -> None:
    with pytest.raises(ConfigError, match="positive"):
        make_policy(config(policy__value_scale=scale), VECTOR, DISCRETE)


def test_rnn_sizes_must_fit_the_policy() -> None:
    with pytest.raises(InfeasibleConfigError, match="128"):
        make_policy(config(base__rnn_name="LSTMWrapper", rnn__hidden_size=64), VECTOR, DISCRETE)


OWN_POLICY = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, observation_layout, action_layout, depth=1):
        super().__init__()
        self.hidden_size = 4
        self.depth = depth
        self.encoder = nn.Linear(3, 4)
        self.actor, self.critic = nn.Linear(4, 4), nn.Linear(4, 1)

    def encode_observations(self, observations):
        return self.encoder(observations)

    def decode_actions(self, hidden):
        return self.actor(hidden), self.critic(hidden).squeeze(1)

class Nothing(nn.Module):
    def __init__(self, *args):
        super().__init__()
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch) -> str:
    (tmp_path / "policy_of_my_own.py").write_text(OWN_POLICY)
    monkeypatch.syspath_prepend(tmp_path)
    yield "policy_of_my_own"
    sys.modules.pop("policy_of_my_own", None)


def test_a_policy_of_ones_own(own_module) -> None:
    asked = config(base__policy_name=f"{own_module}:Mine", policy__depth=3)
    agent = make_policy(asked, VECTOR, DISCRETE)
    assert isinstance(agent, FeedForward)
    assert agent.body.depth == 3
    recurrent = make_policy(asked.override({"base.rnn_name": "LSTMWrapper"}), VECTOR, DISCRETE)
    assert isinstance(recurrent, LSTMWrapper)


def test_a_policy_is_found_where_one_is(tmp_path, monkeypatch) -> None:
    """As from a console script, whose sys.path does not hold the current folder."""
    (tmp_path / "policy_nearby.py").write_text(OWN_POLICY)
    (tmp_path / "policy_broken.py").write_text("class Mine(:")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(tmp_path)
    agent = make_policy(config(base__policy_name="policy_nearby:Mine", policy__depth=2), VECTOR, DISCRETE)
    assert agent.body.depth == 2
    sys.modules.pop("policy_nearby")
    with pytest.raises(ConfigError, match="SyntaxError"):
        make_policy(config(base__policy_name="policy_broken:Mine"), VECTOR, DISCRETE)


def test_what_is_wrong_with_a_policy_is_said(own_module) -> None:
    for values, error, words in (
        ({"base__policy_name": "Convolutionl"}, UnknownNameError, "Did you mean Convolutional"),
        ({"base__policy_name": "no_such_module:Mine"}, ConfigError, "cannot be imported"),
        ({"base__policy_name": f"{own_module}:Yours"}, ConfigError, "has no class Yours"),
        ({"base__policy_name": f"{own_module}:Nothing"}, ConfigError, "encode_observations"),
        (
            {"base__policy_name": f"{own_module}:Mine", "policy__dept": 2},
            UnknownNameError,
            "Did you mean depth",
        ),
        ({"policy__activation": "swish"}, ConfigError, "relu"),
        ({"policy__hidden_size": "wide"}, ConfigError, "cannot be made"),
        ({"base__rnn_name": "LSTM"}, UnknownNameError, "LSTMWrapper"),
        ({"base__policy_name": "Convolutional"}, InfeasibleConfigError, "36 pixels"),
    ):
        with pytest.raises(error, match=words):
            make_policy(config(**values), VECTOR, DISCRETE)


def test_samples_follow_the_probabilities() -> None:
    distribution = make_distribution(MULTI)
    scores = torch.randn(1, 10, generator=torch.Generator().manual_seed(2)).expand(20_000, 10)
    noise = distribution.draw_noise((20_000,), torch.Generator().manual_seed(3))
    actions = distribution.sample(scores, noise)
    for i, part in enumerate(scores[0].split([3, 2, 5])):
        shares = torch.bincount(actions[:, i], minlength=len(part)) / 20_000
        torch.testing.assert_close(shares, part.softmax(0), atol=0.015, rtol=0)


@pytest.mark.parametrize("noise", [0.0, 1.0 - 2**-24])
def test_extreme_noise_stays_among_the_choices(noise) -> None:
    distribution = make_distribution(ActionLayout("discrete", sizes=(7,)))
    scores = torch.randn(100, 7, generator=torch.Generator().manual_seed(0)) * 5
    actions = distribution.sample(scores, torch.full((100, 1), noise))
    assert actions.min() >= 0
    assert actions.max() <= 6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from([DISCRETE, MULTI, CONTINUOUS]))
def test_log_probabilities_and_entropies_equal_torch_distributions(seed, kind) -> None:
    g = torch.Generator().manual_seed(seed)
    distribution = make_distribution(kind)
    scores = torch.randn(4, 3, distribution.num_scores, generator=g, dtype=torch.float64)
    flat = scores.flatten(0, 1)
    actions = distribution.sample(flat, distribution.draw_noise((12,), g).double()).view(4, 3, -1)
    got, entropies = distribution.log_probs_and_entropies(scores, actions)
    torch.testing.assert_close(distribution.log_probs(scores, actions), got)
    if kind is CONTINUOUS:
        normal = torch.distributions.Normal(scores[..., :2], scores[..., 2:].exp())
        expected, expected_entropies = normal.log_prob(actions).sum(-1), normal.entropy().sum(-1)
    else:
        parts = [torch.distributions.Categorical(logits=p) for p in scores.split(list(kind.sizes), -1)]
        expected = sum(p.log_prob(actions[..., i]) for i, p in enumerate(parts))
        expected_entropies = sum(p.entropy() for p in parts)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(entropies, expected_entropies)


def test_greedy_takes_the_mode() -> None:
    scores = torch.tensor([[0.0, 3.0, 1.0, 5.0, 4.0, 0.0, 0.0, 9.0, 0.0, 0.0]])
    assert make_distribution(MULTI).greedy(scores).tolist() == [[1, 0, 2]]
    assert make_distribution(CONTINUOUS).greedy(torch.tensor([[0.5, -3.0, 0.0, 0.0]])).tolist() == [
        [0.5, -3.0]
    ]


def test_the_log_deviation_is_bounded() -> None:
    agent = make_policy(config(), VECTOR, CONTINUOUS)
    with torch.no_grad():
        agent.body.head.log_deviation.copy_(torch.tensor([-50.0, 50.0]))
    scores, _, _ = agent.step(torch.zeros(1, 3), ())
    assert scores[0, 2:].tolist() == [-5.0, 2.0]
    assert math.isfinite(scores.sum().item())


@pytest.mark.parametrize("actions", [DISCRETE, MULTI, ActionLayout("discrete", sizes=(2,))])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("layers", [1, 2])
def test_acting_by_numpy_equals_acting_by_torch(actions, activation, layers) -> None:
    torch.manual_seed(0)
    asked = config(policy__activation=activation, policy__num_layers=layers)
    agent, distribution = make_policy(asked, VECTOR, actions), make_distribution(actions)
    assert Perceptron.fits(agent, distribution)
    actor = Perceptron(agent, distribution)
    for _ in range(2):
        with torch.no_grad():
            for parameter in agent.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
            observations, noise = torch.randn(500, 3), torch.rand(500, actions.width)
            resets = torch.zeros(500, dtype=torch.bool)
            expected = act(agent, distribution, observations, (), resets, noise)
            got = actor.act(agent, distribution, observations, (), resets, noise)
        torch.testing.assert_close(got[1], expected[1])
        torch.testing.assert_close(got[2], expected[2])
        # A choice may differ only where the noise falls on a border between two, within rounding.
        assert (got[0] == expected[0]).all(1).float().mean() > 0.995


def test_numpy_leaves_to_torch_what_it_does_not_know() -> None:
    distribution = make_distribution(DISCRETE)
    for values, observations in (
        ({"base__rnn_name": "LSTMWrapper"}, VECTOR),
        ({"policy__activation": "gelu"}, VECTOR),
        ({"policy__hidden_size": 1024}, VECTOR),
        ({"policy__normalize_observations": True}, VECTOR),
        ({}, PIXELS),
        ({"base__policy_name": "Convolutional"}, PIXELS),
    ):
        assert not Perceptron.fits(make_policy(config(**values), observations, DISCRETE), distribution)
    gaussian = make_distribution(CONTINUOUS)
    assert not Perceptron.fits(make_policy(config(), VECTOR, CONTINUOUS), gaussian)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), parts=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_normalisation_knows_the_mean_and_deviation_of_everything_so_far(seed, parts) -> None:
    g = torch.Generator().manual_seed(seed)
    normaliser = ObservationNormaliser(3)
    seen = [torch.randn(2, count, 3, generator=g) * 5 + 100 for count in parts]
    for rollout in seen:
        normaliser.take_in(rollout)
    whole = torch.cat([rollout.reshape(-1, 3) for rollout in seen]).double()
    torch.testing.assert_close(normaliser.mean.double(), whole.mean(0), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(normaliser.variance.double(), whole.var(0, correction=0), rtol=1e-2, atol=1e-2)
    expected = (whole - whole.mean(0)) / (whole.var(0, correction=0) + 1e-8).sqrt()
    torch.testing.assert_close(
        normaliser(whole.float()).double(), expected.clamp(-10, 10), atol=0.1, rtol=0.1
    )
