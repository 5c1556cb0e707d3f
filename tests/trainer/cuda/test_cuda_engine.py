"""Rollouts and updates on static memory: equal to the plain ones, replayable, and shared between runs."""

from __future__ import annotations

import pytest
import torch

from trainer.config import Config, resolve
from trainer.cuda.advantage import advantages_by_scan
from trainer.cuda.capture import NoCapture
from trainer.cuda.engine import Engine, EngineCache, Hyperparameters, Memory, Ways
from trainer.optimizers import make_optimizer, set_learning_rate
from trainer.policies import make_compute, make_distribution, make_policy
from trainer.ppo.buffer import RolloutBuffer
from trainer.ppo.rollout import Collector, act
from trainer.ppo.update import Coefficients, Learner, Plan, piece_gradients
from trainer.records import EnvironmentFacts
from trainer.vector import make_vector

CPU = torch.device("cpu")
NUM_ENVS, HORIZON = 6, 8


def make_config(env_name="cartpole", **train) -> Config:
    rnn = train.pop("rnn", None)
    policy = train.pop("policy", {"hidden_size": 16})
    settings = {
        "bptt_horizon": HORIZON,
        "minibatch_size": 24,
        "device": "cpu",
        "total_timesteps": 4800,
    } | train
    config = Config(
        base={"package": "ocean", "env_name": env_name, "rnn_name": rnn},
        vec={"num_envs": NUM_ENVS, "seed": 3},
        policy=policy,
        train=settings,
    )
    facts = EnvironmentFacts(agents_per_env=2 if env_name == "multiagent" else 1, backend="PufferEnv")
    return resolve(config, facts, False).config


def hyperparameters(config: Config) -> Hyperparameters:
    s = config.train
    return Hyperparameters(
        (
            s.gamma,
            s.gae_lambda,
            s.vtrace_rho_clip,
            s.vtrace_c_clip,
            s.clip_coef,
            s.vf_coef,
            s.vf_clip_coef,
            s.ent_coef,
            s.prio_alpha,
            s.prio_beta0,
        ),
        (s.adam_beta1, s.adam_beta2),
        s.adam_eps,
        s.max_grad_norm,
    )


def make_plan(config: Config, batch_steps: int) -> Plan:
    s = config.train
    return Plan(
        num_minibatches=s.update_epochs * batch_steps // s.minibatch_size,
        minibatch_segments=s.minibatch_size // HORIZON,
        piece_segments=min(s.minibatch_size, s.max_minibatch_size) // HORIZON,
        max_grad_norm=s.max_grad_norm,
        prioritised=s.prio_alpha > 0,
    )


class Run:
    """The parts of one run on the CPU, plain or on static memory."""

    def __init__(self, config: Config, vector=None, rounds: int = 1) -> None:
        self.config = config
        self.vector = vector or make_vector(config, CPU)
        # The environment's draws as operations on tensors, as they are on CUDA.
        self.vector.environment.draws.by_numpy = False
        torch.manual_seed(config.train.seed)
        self.agent = make_policy(config, self.vector.observation_layout, self.vector.action_layout)
        self.distribution = make_distribution(self.vector.action_layout)
        self.optimizer = make_optimizer(config, self.agent)
        self.compute = make_compute(self.agent, config.train.precision)
        self.generator = torch.Generator().manual_seed(config.train.seed)
        self.rounds = rounds
        self.buffer = RolloutBuffer.allocate(
            HORIZON,
            rounds * self.vector.num_agents,
            self.vector.observation_layout,
            self.distribution,
            self.agent.initial_state(1, CPU),
            CPU,
        )
        self.coefficients = Coefficients(*map(torch.tensor, hyperparameters(config).coefficients))
        self.plan = make_plan(config, rounds * self.vector.num_agents * HORIZON)

    def engine(self, capture) -> Engine:
        memory = Memory(
            self.agent,
            self.compute,
            self.distribution,
            self.optimizer,
            self.buffer,
            self.coefficients,
            self.generator,
        )
        ways = Ways(capture, act, piece_gradients, advantages_by_scan)
        engine = Engine(memory, self.plan, horizon=HORIZON, rounds=self.rounds, ways=ways)
        engine.begin(self.agent, hyperparameters(self.config), self.config.train.seed)
        return engine

    def plain(self) -> tuple[Collector, Learner]:
        collector = Collector(
            self.vector,
            self.compute.agent,
            self.distribution,
            horizon=HORIZON,
            rounds=self.rounds,
            generator=self.generator,
            on_step=lambda: None,
        )
        learner = Learner(
            self.agent,
            self.compute,
            self.distribution,
            self.optimizer,
            self.plan,
            generator=self.generator,
            on_minibatch=lambda: None,
        )
        return collector, learner

    def epochs(self, collector, learner, number: int = 3, rate: float | None = None, begin: bool = True):
        """Train, with another learning rate each epoch; all losses, episodes and weights."""
        seen = []
        if begin:
            collector.begin(self.config.vec.seed)
        for epoch in range(number):
            set_learning_rate(self.optimizer, (rate or self.config.train.learning_rate) / (1 + epoch))
            self.compute.refresh()
            episodes, _ = collector.collect(self.buffer)
            losses = learner.update(self.buffer, self.coefficients).read()
            seen.append((losses, count(episodes)))
        return seen, self.weights()

    def weights(self) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.agent.parameters()])


def count(episodes) -> tuple[float, float, float]:
    if hasattr(episodes, "sums"):
        return tuple(episodes.sums[:3].tolist())
    if not episodes.returns:
        return 0.0, 0.0, 0.0
    returns, lengths = torch.cat(episodes.returns), torch.cat(episodes.lengths)
    return float(len(returns)), float(returns.sum()), float(lengths.sum())


SETTINGS = {
    "muon": {"optimizer": "muon"},
    "adam, dealt": {"optimizer": "adam", "prio_alpha": 0.0, "learning_rate": 3e-3, "update_epochs": 2},
    "lstm": {"optimizer": "adam", "rnn": "LSTMWrapper", "learning_rate": 3e-3},
    "two layers, pieces": {
        "policy": {"hidden_size": 16, "num_layers": 3},
        "minibatch_size": 48,
        "max_minibatch_size": 16,
    },
}
ENVIRONMENTS = ("breakout", "cartpole", "memory", "multiagent", "pendulum", "pong", "snake", "squared")


def same(mine, theirs, tolerance: float = 1e-5) -> None:
    for (losses, episodes), (other_losses, other_episodes) in zip(mine[0], theirs[0], strict=True):
        assert losses == pytest.approx(other_losses, rel=1e-3, abs=1e-4)
        assert episodes == pytest.approx(other_episodes, rel=1e-6)
    torch.testing.assert_close(mine[1], theirs[1], rtol=1e-3, atol=tolerance)


@pytest.mark.parametrize("env_name", ENVIRONMENTS)
def test_a_rollout_on_the_device_fills_the_buffer_as_the_collector_does(
    env_name: str, recorded_capture
) -> None:
    config = make_config(env_name, rnn="LSTMWrapper")
    one, other = Run(config, rounds=2), Run(config, rounds=2)
    collector, _ = one.plain()
    engine = other.engine(recorded_capture)
    mine = engine.collector(other.vector, lambda: None)
    for either in (collector, mine):
        either.begin(3)
    for _ in range(8):
        expected, _ = collector.collect(one.buffer)
        got, _ = mine.collect(other.buffer)
        for name in RolloutBuffer.__slots__:
            wanted, found = getattr(one.buffer, name), getattr(other.buffer, name)
            if name == "states":
                for a, b in zip(wanted, found, strict=True):
                    torch.testing.assert_close(a, b)
            else:
                torch.testing.assert_close(found, wanted, msg=name)
        assert count(got) == pytest.approx(count(expected))
        for name, values in expected.extra.items():
            total = got.sums[3 + got.names.index(name)]
            assert float(torch.cat(values).sum()) == pytest.approx(float(total))
    assert one.vector.state_dict().keys() == other.vector.state_dict().keys()
    for key, value in one.vector.state_dict().items():
        torch.testing.assert_close(value, other.vector.state_dict()[key])


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("captured", [False, True])
def test_training_on_static_memory_equals_plain_training(name: str, captured: bool, recorded_capture) -> None:
    config = make_config("cartpole", **dict(SETTINGS[name]))
    plain, static = Run(config), Run(config)
    expected = plain.epochs(*plain.plain())
    engine = static.engine(recorded_capture if captured else NoCapture("a test"))
    same(static.epochs(engine.collector(static.vector, lambda: None), engine.learner), expected)


def test_bfloat16_on_static_memory(recorded_capture) -> None:
    config = make_config("cartpole", precision="bfloat16")
    plain, static = Run(config), Run(config)
    expected = plain.epochs(*plain.plain(), number=1)
    engine = static.engine(recorded_capture)
    mine = static.epochs(engine.collector(static.vector, lambda: None), engine.learner, number=1)
    same(mine, expected, tolerance=2e-3)


def test_one_capture_serves_a_second_run_with_other_hyperparameters(recorded_capture) -> None:
    first = make_config("breakout", optimizer="adam", learning_rate=1e-2, adam_beta1=0.8, max_grad_norm=0.1)
    changes = {
        "learning_rate": 2e-3,
        "gamma": 0.9,
        "gae_lambda": 0.7,
        "ent_coef": 0.1,
        "clip_coef": 0.05,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_eps": 1e-4,
        "max_grad_norm": 2.0,
        "prio_alpha": 0.3,
        "vf_coef": 0.4,
        "seed": 7,
    }
    second = first.override({f"train.{key}": value for key, value in changes.items()})
    run = Run(first)
    engine = run.engine(recorded_capture)
    run.epochs(engine.collector(run.vector, lambda: None), engine.learner)
    assert len(recorded_capture.names) == 3

    alone = Run(second)
    expected = alone.epochs(*alone.plain())
    torch.manual_seed(second.train.seed)
    fresh = make_policy(second, run.vector.observation_layout, run.vector.action_layout)
    engine.begin(fresh, hyperparameters(second), second.train.seed)
    run.config = second
    mine = run.epochs(engine.collector(run.vector, lambda: None), engine.learner)
    assert len(recorded_capture.names) == 3, "nothing was captured again"
    same(mine, expected)


def test_another_environment_of_the_same_kind_captures_the_rollout_alone(recorded_capture) -> None:
    config = make_config("cartpole")
    run = Run(config)
    engine = run.engine(recorded_capture)
    run.epochs(engine.collector(run.vector, lambda: None), engine.learner)
    other = Run(config)
    engine.begin(other.agent, hyperparameters(config), config.train.seed)
    run.vector = other.vector
    mine = run.epochs(engine.collector(other.vector, lambda: None), engine.learner)
    assert recorded_capture.names.count("The rollout") == 2
    assert recorded_capture.names.count("The gradient step") == 1
    alone = Run(config)
    same(mine, alone.epochs(*alone.plain()))


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_resumed_optimiser_lies_in_the_same_memory(optimizer: str, recorded_capture) -> None:
    config = make_config("cartpole", optimizer=optimizer, policy={"hidden_size": 16, "num_layers": 2})
    whole = Run(config)
    engine = whole.engine(recorded_capture)
    collector = engine.collector(whole.vector, lambda: None)
    whole.epochs(collector, engine.learner, number=2)
    saved = {
        "agent": {k: v.clone() for k, v in whole.agent.state_dict().items()},
        "optimizer": torch.utils._pytree.tree_map(
            lambda x: x.clone() if isinstance(x, torch.Tensor) else x, whole.optimizer.state_dict()
        ),
        "collector": {
            k: v.clone() if isinstance(v, torch.Tensor) else [x.clone() for x in v]
            for k, v in collector.state_dict().items()
        },
        "vector": whole.vector.state_dict(),
        "random": whole.generator.get_state(),
    }
    expected = whole.epochs(collector, engine.learner, number=1, begin=False)
    moments = [t.data_ptr() for t in engine.optimizer.tensors()]
    whole.agent.load_state_dict(saved["agent"])
    engine.optimizer.load(saved["optimizer"])
    whole.generator.set_state(saved["random"])
    collector.resume(11, saved["collector"], saved["vector"])
    again = whole.epochs(collector, engine.learner, number=1, begin=False)
    assert torch.equal(again[1], expected[1])
    assert again[0] == expected[0]
    assert [t.data_ptr() for t in engine.optimizer.tensors()] == moments


def test_the_memory_of_a_capture_is_not_to_be_swapped(recorded_capture) -> None:
    run, other = Run(make_config()), Run(make_config())
    engine = run.engine(recorded_capture)
    with pytest.raises(ValueError, match="made for"):
        engine.collector(run.vector, lambda: None).collect(other.buffer)
    with pytest.raises(ValueError, match="made for"):
        engine.learner.update(other.buffer, run.coefficients)


def test_a_step_that_looks_at_numbers_cannot_be_recorded(recorded_capture) -> None:
    numbers = torch.ones(3)
    for step in (
        lambda: numbers.sum().item(),
        lambda: numbers[numbers > 0],
        lambda: torch.tensor([1.0]) + numbers,
    ):
        with pytest.raises(RuntimeError, match="capturing"):
            recorded_capture("a step", step, [], [])


class _Idle:
    def __init__(self) -> None:
        self.in_use = False


def test_the_cache_keeps_those_used_last() -> None:
    cache = EngineCache(limit=2)
    engines = {}
    for key in "aba":
        engine = cache.take(key, _Idle)
        engines.setdefault(key, engine)
        assert engine is engines[key]
        cache.give_back(engine, broken=False)
    cache.give_back(cache.take("c", _Idle), broken=False)
    assert len(cache) == 2
    assert cache.take("a", _Idle) is engines["a"], "b was used longest ago"


def test_an_engine_in_use_is_not_shared_and_a_broken_one_not_kept() -> None:
    cache = EngineCache()
    first = cache.take("a", _Idle)
    second = cache.take("a", _Idle)
    assert first is not second
    cache.give_back(second, broken=False)
    cache.give_back(first, broken=True)
    assert len(cache) == 0
    assert cache.take("a", _Idle) not in (first, second)


def test_engines_make_room_when_memory_is_short() -> None:
    cache = EngineCache(limit=3)
    for key in "ab":
        cache.give_back(cache.take(key, _Idle), broken=False)
    failures = [torch.OutOfMemoryError("full")]

    def make() -> _Idle:
        if failures:
            raise failures.pop()
        return _Idle()

    cache.take("c", make)
    assert len(cache) == 1
    with pytest.raises(torch.OutOfMemoryError):
        cache.take("d", lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
