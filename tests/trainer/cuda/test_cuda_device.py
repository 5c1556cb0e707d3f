"""On a CUDA device: the CPU's numbers, graphs equal to plain calls, the same bits twice, no hidden waits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer import parts, train
from trainer.acceleration import _engines
from trainer.checkpoint import load_checkpoint
from trainer.config import Config
from trainer.cuda.advantage import advantages_by_scan, choose_advantages
from trainer.cuda.capture import GraphCapture, NoCapture
from trainer.cuda.engine import Engine, Hyperparameters, Memory, Ways
from trainer.cuda.memory import limit_share
from trainer.device import torch_settings
from trainer.errors import MemoryExhaustedError
from trainer.optimizers import make_optimizer, set_learning_rate
from trainer.optimizers.muon import orthogonalise
from trainer.policies import FeedForward, make_compute, make_distribution
from trainer.policies.lstm import LSTMWrapper
from trainer.ppo.buffer import RolloutBuffer
from trainer.ppo.rollout import act
from trainer.ppo.update import Coefficients, Plan, piece_gradients
from trainer.vector import make_vector
from trainer.vector.base import ActionLayout

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda", 0)
NUM_ENVS, HORIZON = 64, 16


def make_config(env_name: str = "breakout", epochs: int = 4, **train_settings) -> Config:
    settings = {
        "bptt_horizon": HORIZON,
        "minibatch_size": 256,
        "device": "cuda:0",
        "total_timesteps": NUM_ENVS * HORIZON * epochs,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "tf32": False,
    }
    rnn = train_settings.pop("rnn", None)
    return Config(
        base={"package": "ocean", "env_name": env_name, "rnn_name": rnn},
        vec={"num_envs": NUM_ENVS},
        policy={"hidden_size": 32},
        train=settings | train_settings,
    )


@pytest.fixture(autouse=True)
def no_engines_left():
    yield
    _engines._shrink(0)
    torch.cuda.empty_cache()


def weights_of(result) -> dict[str, torch.Tensor]:
    return load_checkpoint(result.checkpoint).agent


class WideHead(nn.Module):
    """A body that keeps to its parameters' format, float64 included; two layers of one shape for Muon."""

    def __init__(self, inputs: int, width: int, scores: int) -> None:
        super().__init__()
        self.hidden_size = width
        self.encoder = nn.Linear(inputs, width)
        self.middle = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))
        self.decoder = nn.Linear(width, scores + 1)

    def encode_observations(self, observations):
        return self.middle(self.encoder(observations).tanh()).tanh()

    def decode_actions(self, hidden):
        output = self.decoder(hidden)
        return output[:, :-1], output[:, -1]


def random_update(
    device: torch.device, dtype: torch.dtype, optimizer: str, rnn: str | None, capture
) -> tuple:
    """Three gradient steps on the same random batch; weights, losses, values."""
    steps, segments, width = 6, 24, 16
    g = torch.Generator().manual_seed(4)
    actions = ActionLayout("discrete", sizes=(3, 2))
    torch.manual_seed(2)
    config = make_config(optimizer=optimizer)
    body = WideHead(5, width, 5)
    agent = (LSTMWrapper(body) if rnn else FeedForward(body)).double().to(device, dtype)
    distribution = make_distribution(actions)

    def numbers(*more: int) -> torch.Tensor:
        return torch.randn(steps, segments, *more, generator=g, dtype=torch.float64).to(device, dtype)

    def flags(share: float) -> torch.Tensor:
        return (torch.rand(steps, segments, generator=g) < share).to(device)

    chosen = torch.stack([torch.randint(0, n, (steps, segments), generator=g) for n in (3, 2)], -1).to(device)
    scores = numbers(5)
    state = tuple(numbers(width)[0] for _ in range(2)) if rnn else ()
    buffer = RolloutBuffer(
        observations=numbers(5),
        actions=chosen,
        scores=scores,
        values=numbers(),
        log_probs=distribution.log_probs(scores, chosen),
        rewards=numbers(),
        terminated=flags(0.1),
        truncated=flags(0.05),
        live=flags(0.9),
        following_values=numbers(),
        resets=flags(0.15),
        states=state,
    )
    values = (0.95, 0.9, 1.0, 1.0, 0.2, 0.5, 0.2, 0.01, 0.0, 1.0)
    coefficients = Coefficients(*(torch.tensor(value, device=device, dtype=dtype) for value in values))
    memory = Memory(
        agent,
        make_compute(agent, "float32"),
        distribution,
        make_optimizer(config, agent),
        buffer,
        coefficients,
        torch.Generator(device),
    )
    # A minibatch of everything: nothing is drawn, so that both devices learn from the same.
    plan = Plan(3, segments, segments // 2, 0.5, prioritised=False)
    engine = Engine(
        memory, plan, horizon=steps, rounds=1, ways=Ways(capture, act, piece_gradients, advantages_by_scan)
    )
    engine.begin(agent, Hyperparameters(values, (0.9, 0.99), 1e-8, 0.5), 1)
    set_learning_rate(memory.optimizer, 0.01)
    losses = engine.learner.update(buffer, coefficients).numbers()
    weights = torch.cat([parameter.detach().flatten() for parameter in agent.parameters()])
    return weights.cpu().double(), losses.cpu().double(), engine.update.values.cpu().double()


@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_an_update_equals_the_cpus(rnn, optimizer, dtype, tolerance) -> None:
    host = random_update(torch.device("cpu"), torch.float64, optimizer, rnn, NoCapture("the CPU"))
    device = random_update(CUDA, dtype, optimizer, rnn, GraphCapture(CUDA))
    for mine, theirs in zip(device, host, strict=True):
        assert torch.linalg.vector_norm(mine - theirs) <= tolerance * torch.linalg.vector_norm(theirs)


@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
def test_a_captured_update_equals_the_plain_one(rnn) -> None:
    plain = random_update(CUDA, torch.float32, "adam", rnn, NoCapture("a test"))
    captured = random_update(CUDA, torch.float32, "adam", rnn, GraphCapture(CUDA))
    for mine, theirs in zip(captured, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_distributions_equal_the_cpus(kind) -> None:
    layout = (
        ActionLayout(kind, sizes=(4, 3))
        if kind == "discrete"
        else ActionLayout(kind, low=(-1.0,), high=(1.0,))
    )
    distribution = make_distribution(layout)
    g = torch.Generator().manual_seed(3)
    scores = torch.randn(50, distribution.num_scores, generator=g, dtype=torch.float64)
    noise = distribution.draw_noise((50,), g).double()
    actions = distribution.sample(scores, noise)
    there = distribution.sample(scores.to(CUDA), noise.to(CUDA))
    torch.testing.assert_close(there.cpu(), actions)
    for mine, theirs in zip(
        distribution.log_probs_and_entropies(scores.to(CUDA), there),
        distribution.log_probs_and_entropies(scores, actions),
        strict=True,
    ):
        torch.testing.assert_close(mine.cpu(), theirs)


@pytest.mark.parametrize("shape", [(3, 16, 48), (2, 40, 10), (1, 32, 32), (512, 3136)])
def test_newton_schulz_equals_the_cpus(shape) -> None:
    matrices = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(orthogonalise(matrices.to(CUDA)).cpu(), orthogonalise(matrices))
    mine = orthogonalise(matrices.float().to(CUDA)).cpu().double()
    wanted = orthogonalise(matrices)
    assert torch.linalg.vector_norm(mine - wanted) < 1e-3 * torch.linalg.vector_norm(wanted)


@pytest.mark.parametrize(
    "env_name", ["breakout", "cartpole", "pong", "snake", "memory", "squared", "acrobot"]
)
def test_environments_play_alike_on_both_devices(env_name) -> None:
    host = make_vector(make_config(env_name), "cpu")
    there = make_vector(make_config(env_name), CUDA)
    generator = torch.Generator().manual_seed(1)
    for env in (host, there):
        env.reset(7)
    for _ in range(40):
        mine, theirs = there.recv(), host.recv()
        torch.testing.assert_close(mine.observations.cpu(), theirs.observations, rtol=1e-4, atol=1e-4)
        assert torch.equal(mine.terminated.cpu(), theirs.terminated)
        actions = torch.randint(0, host.action_layout.sizes[0], (NUM_ENVS, 1), generator=generator)
        host.send(actions)
        there.send(actions.to(CUDA))


@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
@pytest.mark.parametrize("changes", [{}, {"precision": "bfloat16"}, {"optimizer": "muon", "prio_alpha": 0.0}])
def test_a_captured_run_equals_a_plain_one(rnn, changes, tmp_path, monkeypatch) -> None:
    config = make_config(rnn=rnn, **changes)
    captured = train(config, folder=tmp_path / "captured")
    assert "not captured" not in captured.facts["steps"], captured.facts["steps"]

    def borrow(config, vector, device, plan, horizon, rounds, make_memory):
        ways = Ways(NoCapture("a test"), act, piece_gradients, choose_advantages(device)[0])
        return Engine(make_memory(), plan, horizon=horizon, rounds=rounds, ways=ways), "step by step"

    monkeypatch.setattr(parts, "borrow_engine", borrow)
    monkeypatch.setattr(parts, "give_engine_back", lambda engine, broken: None)
    plain = train(config, folder=tmp_path / "plain")
    mine, theirs = weights_of(captured), weights_of(plain)
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, rtol=5e-3, atol=5e-4, msg=name)


@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
def test_deterministic_runs_end_with_the_same_bits(rnn, tmp_path) -> None:
    results = []
    for number in range(3):
        if number == 2:
            _engines._shrink(0)  # the third run captures anew, the second finds all of it ready
        results.append(train(make_config(rnn=rnn, torch_deterministic=True), folder=tmp_path / str(number)))
    assert results[1].facts["capture_seconds"] == 0.0
    first, *others = (weights_of(result) for result in results)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_captures_are_quick_and_serve_other_hyperparameters() -> None:
    first = train(make_config(torch_deterministic=False))
    assert first.facts["capture_seconds"] > 0
    changes = {"train.learning_rate": 3e-3, "train.gamma": 0.9, "train.adam_beta1": 0.8, "train.seed": 5}
    second = train(make_config(torch_deterministic=False).override(changes))
    assert second.facts["capture_seconds"] == 0.0


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_a_replayed_epoch_hides_no_wait() -> None:
    """PyTorch raises at every wait within the rollout and the update, once they are captured."""
    config = make_config(torch_deterministic=False)
    from trainer.config import resolve
    from trainer.loop import Trainer
    from trainer.records import EnvironmentFacts

    config = resolve(config, EnvironmentFacts(backend="PufferEnv"), True).config
    vector = make_vector(config, CUDA)
    with torch_settings(config.train, CUDA):
        trainer = Trainer(config, vector, CUDA, folder=None, on_heartbeat=lambda: None)
        trainer.begin(None)
        for number in range(3):
            torch.cuda.set_sync_debug_mode("error" if number else "default")
            try:
                trainer.compute.refresh()
                trainer.collector.collect(trainer.buffer)
                trainer.learner.update(trainer.buffer, trainer.coefficients).numbers()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        trainer.parts.release(broken=True)
    vector.close()


def test_offloading_learns_the_same_and_frees_the_device(tmp_path) -> None:
    sizes, weights = [], []
    for offload in (False, True):
        _engines._shrink(0)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(CUDA)
        config = make_config(cpu_offload=offload, prio_alpha=0.0).override({"vec.num_envs": 1024})
        config = config.override({"train.total_timesteps": 1024 * HORIZON * 2})
        result = train(config, folder=tmp_path / str(offload))
        sizes.append(result.facts["peak_memory_bytes"])
        weights.append(weights_of(result))
    buffer_bytes = 1024 * HORIZON * 400 * 4
    assert sizes[0] - sizes[1] > 0.5 * buffer_bytes
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=5e-3, atol=5e-4, msg=name)


def test_out_of_memory_is_an_outcome_and_the_next_run_runs() -> None:
    torch.cuda.empty_cache()
    limit_share(CUDA, 0.01)
    try:
        with pytest.raises(MemoryExhaustedError, match=r"were asked for.*max_minibatch_size"):
            train(make_config().override({"vec.num_envs": 262144}))
    finally:
        limit_share(CUDA, 1.0)
    assert train(make_config(epochs=2)).epochs == 2


def test_a_policy_that_looks_at_numbers_runs_uncaptured(monkeypatch) -> None:
    from trainer.policies.default import Policy

    original = Policy.encode_observations

    def nosy(self, observations):
        assert float(observations.float().sum()) == float(observations.float().sum())
        return original(self, observations)

    monkeypatch.setattr(Policy, "encode_observations", nosy)
    result = train(make_config(epochs=3))
    assert "not captured" in result.facts["steps"]
    assert result.epochs == 3


@pytest.mark.parametrize("env_name", ["bandit", "memory"])
def test_it_learns_on_the_device(env_name) -> None:
    """The score that Ocean's sanity environments are made for."""
    rnn = "LSTMWrapper" if env_name == "memory" else None
    seen = []
    settings = {"learning_rate": 5e-3, "total_timesteps": 200_000, "torch_deterministic": False}
    train(make_config(env_name, rnn=rnn, **settings), seen.append)
    last = [progress.score for progress in seen if progress.score is not None][-5:]
    assert sum(last) / len(last) > 0.8, last
