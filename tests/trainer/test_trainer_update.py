"""Gradient steps: pieces, precision, priorities, offloading, compilation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer import train
from trainer.checkpoint import load_checkpoint
from trainer.envs.layout import ActionLayout, ObservationLayout
from trainer.policies import FeedForward, make_compute, make_distribution, make_policy
from trainer.policies.precision import AutocastAgent, CastCompute
from trainer.ppo.buffer import RolloutBuffer
from trainer.ppo.update import Coefficients, Learner, Plan

VECTOR = ObservationLayout((3,), torch.float32)
ACTIONS = ActionLayout("discrete", sizes=(3,))


def random_buffer(seed: int, segments: int = 8, steps: int = 4, width: int = 6) -> RolloutBuffer:
    g = torch.Generator().manual_seed(seed)
    shape = (steps, segments)
    scores = torch.randn(*shape, 3, generator=g, dtype=torch.float64)
    actions = torch.randint(0, 3, (*shape, 1), generator=g)
    distribution = make_distribution(ACTIONS)

    def numbers(*more: int) -> torch.Tensor:
        return torch.randn(*shape, *more, generator=g, dtype=torch.float64)

    def flags(share: float) -> torch.Tensor:
        return torch.rand(shape, generator=g) < share

    return RolloutBuffer(
        observations=numbers(3),
        actions=actions,
        scores=scores,
        values=numbers(),
        log_probs=distribution.log_probs(scores, actions),
        rewards=numbers(),
        terminated=flags(0.1),
        truncated=torch.zeros(shape, dtype=torch.bool),
        live=flags(0.9),
        following_values=numbers(),
        resets=flags(0.2),
        states=tuple(torch.randn(segments, width, generator=g, dtype=torch.float64) for _ in range(2)),
    )


def coefficients() -> Coefficients:
    return Coefficients(*(torch.tensor(x) for x in (0.9, 0.9, 1.0, 1.0, 0.2, 0.5, 0.2, 0.01, 0.8, 0.5)))


def learner(
    agent: nn.Module, *, piece: int, prioritised: bool = True, minibatches: int = 3, rate=0.1
) -> Learner:
    return Learner(
        agent,
        make_compute(agent, "float32"),
        make_distribution(ACTIONS),
        torch.optim.SGD(agent.parameters(), lr=rate),
        Plan(minibatches, 4, piece, 0.5, prioritised),
        generator=torch.Generator().manual_seed(0),
        on_minibatch=lambda: None,
    )


class DoubleHead(nn.Module):
    """A body in float64 throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_size = 6
        self.encoder, self.decoder = nn.Linear(3, 6), nn.Linear(6, 4)

    def encode_observations(self, observations):
        return self.encoder(observations).tanh()

    def decode_actions(self, hidden):
        output = self.decoder(hidden)
        return output[:, :3], output[:, 3]


def double_agent(rnn: bool) -> nn.Module:
    from trainer.policies.lstm import LSTMWrapper

    torch.manual_seed(0)
    body = DoubleHead()
    return (LSTMWrapper(body) if rnn else FeedForward(body)).double()


@pytest.mark.parametrize("rnn", [False, True])
@pytest.mark.parametrize("prioritised", [False, True])
def test_accumulated_gradients_equal_one_large_minibatch(rnn, prioritised) -> None:
    after = []
    for piece in (4, 2, 1):
        agent = double_agent(rnn)
        buffer = random_buffer(1)
        if not rnn:
            buffer.states = ()
        stats = learner(agent, piece=piece, prioritised=prioritised).update(buffer, coefficients()).read()
        after.append((torch.cat([p.detach().flatten() for p in agent.parameters()]), stats))
    for weights, stats in after[1:]:
        torch.testing.assert_close(weights, after[0][0], rtol=0, atol=1e-6)
        assert stats == pytest.approx(after[0][1], abs=1e-6)


def test_the_buffer_is_left_as_it_is() -> None:
    buffer = random_buffer(2)
    before = {name: getattr(buffer, name) for name in RolloutBuffer.__slots__ if name != "states"}
    copies = {name: tensor.clone() for name, tensor in before.items()}
    learner(double_agent(True), piece=2).update(buffer, coefficients())
    assert all(torch.equal(before[name], copies[name]) for name in copies)


def test_without_priorities_every_segment_is_dealt_once_an_epoch() -> None:
    agent = double_agent(False)
    it = learner(agent, piece=4, prioritised=False)
    deck = torch.empty(0, dtype=torch.int64)
    hands = []
    for _ in range(4):
        hand, deck = it._deal(deck, 8)
        hands.append(hand.tolist())
    assert sorted(hands[0] + hands[1]) == list(range(8))
    assert sorted(hands[2] + hands[3]) == list(range(8))


def test_a_minibatch_of_all_segments_needs_no_correction_for_priorities() -> None:
    after = []
    for prioritised in (False, True):
        agent, buffer = double_agent(False), random_buffer(4, segments=4)
        buffer.states = ()
        learner(agent, piece=4, prioritised=prioritised).update(buffer, coefficients())
        after.append(torch.cat([p.detach().flatten() for p in agent.parameters()]))
    assert torch.equal(after[0], after[1])


def test_minibatches_prefer_segments_with_large_advantages(monkeypatch) -> None:
    """Two of eight segments are paid a hundred times as much as the others: they are nearly always among the four."""
    from trainer.ppo import update

    dealt = []
    real = update.take_observations
    monkeypatch.setattr(
        update,
        "take_observations",
        lambda buffer, columns: dealt.append(columns.tolist()) or real(buffer, columns),
    )
    buffer = random_buffer(5)
    buffer.states = ()
    buffer.rewards[:, [2, 5]] *= 100
    buffer.live[:] = True
    it = learner(double_agent(False), piece=4, minibatches=20, rate=0.0)
    it.update(buffer, coefficients()._replace(prio_alpha=torch.tensor(1.0)))
    assert sum(2 in hand and 5 in hand for hand in dealt) >= 18


def test_ratios_of_learnt_segments_are_the_newest_known(monkeypatch) -> None:
    """The second minibatch's advantages see the ratios and values that the first one left behind."""
    from trainer.ppo import update

    seen = []
    real = update.compute_advantages

    def spy(transitions, values, ratios, **rest):
        seen.append((values.clone(), ratios.clone()))
        return real(transitions, values, ratios, **rest)

    monkeypatch.setattr(update, "compute_advantages", spy)
    buffer = random_buffer(3)
    buffer.states = ()
    learner(double_agent(False), piece=4, rate=1.0).update(buffer, coefficients())
    assert torch.equal(seen[0][1], torch.ones_like(seen[0][1]))
    changed = (seen[1][1] != 1).any(0)
    assert changed.sum() == 4
    assert torch.equal((seen[1][0] != seen[0][0]).any(0), changed)


class TestPrecision:
    def test_the_copy_follows_the_weights(self) -> None:
        from trainer.config import Config

        agent = make_policy(Config(), VECTOR, ACTIONS)
        compute = make_compute(agent, "bfloat16")
        assert isinstance(compute, CastCompute)
        observations = torch.randn(16, 3)
        for _ in range(2):
            with torch.no_grad():
                for parameter in agent.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            compute.refresh()
            exact = agent.step(observations, ())
            close = compute.agent.step(observations, ())
            torch.testing.assert_close(close[0], exact[0], atol=0.05, rtol=0.05)
            assert not torch.equal(close[0], exact[0])
        assert {p.dtype for p in agent.parameters()} == {torch.float32}
        assert compute.agent.body.head.linear.weight.dtype == torch.float32

    def test_gradients_come_back_widened_and_added_up(self) -> None:
        from trainer.config import Config

        torch.manual_seed(0)
        agent = make_policy(Config(), VECTOR, ACTIONS)
        compute = make_compute(agent, "bfloat16")
        observations = torch.randn(16, 3)
        for _ in range(2):
            compute.agent.step(observations, ())[1].square().mean().backward()
            compute.return_gradients()
        got = [p.grad.clone() for p in agent.parameters()]
        agent.zero_grad()
        (2 * agent.step(observations, ())[1].square().mean()).backward()
        for mine, exact in zip(got, (p.grad for p in agent.parameters()), strict=True):
            assert mine.dtype == torch.float32
            torch.testing.assert_close(mine, exact, atol=0.05, rtol=0.1)

    def test_foreign_bodies_run_under_autocast_with_fresh_weights_each_time(self) -> None:
        torch.manual_seed(0)
        agent = FeedForward(DoubleHead())
        compute = make_compute(agent, "bfloat16")
        assert isinstance(compute.agent, AutocastAgent)
        observations = torch.randn(4, 3)
        first = compute.agent.step(observations, ())[0]
        with torch.no_grad():
            agent.body.decoder.weight.mul_(2)
        second = compute.agent.step(observations, ())[0]
        assert first.dtype == torch.float32
        assert not torch.allclose(first, second)
        assert not torch.is_autocast_enabled("cpu")

    def test_our_head_computes_in_float32_under_autocast_too(self) -> None:
        from trainer.policies import Head

        torch.manual_seed(0)
        head, hidden = Head(16, ACTIONS), torch.randn(8, 16)
        exact = head(hidden)
        with torch.autocast("cpu", torch.bfloat16):
            assert all(torch.equal(a, b) for a, b in zip(head(hidden), exact, strict=True))
            assert torch.is_autocast_enabled("cpu")

    @pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
    def test_a_run_in_bfloat16_learns_and_repeats(
        self, corridor_config, make_corridor, tmp_path, rnn
    ) -> None:
        config = corridor_config.override({"train.precision": "bfloat16", "base.rnn_name": rnn})
        paths = [train(config, folder=tmp_path / n, vector=make_corridor()).checkpoint for n in "ab"]
        a, b = (load_checkpoint(path).agent for path in paths)
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert all(tensor.dtype == torch.float32 for tensor in a.values())


def test_offloaded_observations_learn_the_same_bits(corridor_config, make_corridor, tmp_path) -> None:
    paths = [
        train(
            corridor_config.override({"train.cpu_offload": offload}),
            folder=tmp_path / str(offload),
            vector=make_corridor(),
        ).checkpoint
        for offload in (False, True)
    ]
    a, b = (load_checkpoint(path).agent for path in paths)
    assert all(torch.equal(a[name], b[name]) for name in a)
