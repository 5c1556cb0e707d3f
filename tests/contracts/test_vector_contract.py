"""What every backend owes the trainer, over every backend and a set of environments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import torch

from trainer.config import Config
from trainer.vector import make_vector, probe

PLANTED = Path(__file__).parents[1] / "planted"
SEED = 11
STEPS = 40


@dataclass(frozen=True)
class Case:
    package: str | None
    name: str
    backends: tuple[str, ...]
    env: dict = field(default_factory=dict)
    num_envs: int = 4

    def __str__(self) -> str:
        return self.name.split(":")[-1]


PROCESSES = ("Serial", "Multiprocessing/2", "Multiprocessing/2/half")
ALL = ("PufferEnv", *PROCESSES)
CASES = [
    Case(None, "planted_environments:make_countdown", (*PROCESSES, "Multiprocessing")),
    Case(None, "planted_environments:Nested", PROCESSES),
    Case(None, "planted_environments:Steering", PROCESSES),
    Case(None, "planted_environments:Meeting", ALL),
    Case(None, "planted_environments:Pufferish", ALL),
    Case(
        None,
        "planted_environments:make_vector_countdown",
        ("PufferEnv", "PufferEnv/half", "Multiprocessing/2"),
    ),
    Case("gymnasium", "CartPole-v1", ("Serial", "PufferEnv", "PufferEnv/half", "Multiprocessing/2")),
    Case("gymnasium", "Pendulum-v1", ("Serial", "Multiprocessing/2"), {"max_episode_steps": 15}),
    Case(
        "atari",
        "breakout",
        ("PufferEnv", "PufferEnv/half", "Serial", "Multiprocessing/2"),
        {"max_frames": 60, "reward_clipping": False},
    ),
]
PAIRS = [pytest.param((case, backend), id=f"{case}-{backend}") for case in CASES for backend in case.backends]


def make_config(case: Case, backend: str, **vec) -> Config:
    name, *rest = backend.split("/")
    if rest[:1] not in ([], ["half"]):
        vec["num_workers"] = int(rest[0])
    if "half" in rest:
        vec["batch_size"] = case.num_envs // 2
    base = {"package": case.package, "env_name": case.name}
    return Config(base=base, env=case.env, vec={"num_envs": case.num_envs, "backend": name, **vec})


def choose_actions(layout, num_rows, generator):
    if layout.kind == "continuous":
        return torch.randn((num_rows, layout.width), generator=generator) * 2
    return torch.stack(
        [torch.randint(0, size, (num_rows,), generator=generator) for size in layout.sizes], dim=1
    )


def play(env, seed=SEED, steps=STEPS):
    """Everything that comes out of `steps` steps, row by row: lists of (T, ...) tensors, episodes and finals."""
    generator = torch.Generator().manual_seed(5)
    rounds = env.num_agents // env.batch_agents
    names = ("observations", "rewards", "terminated", "truncated", "live")
    columns = {name: [] for name in names}
    finals, episodes = [], []
    env.reset(seed)
    for step in range(steps):
        actions = choose_actions(env.action_layout, env.num_agents, generator)
        parts = []
        for _ in range(rounds):
            batch = env.recv()
            rows = slice(batch.first_row, batch.first_row + batch.num_rows)
            parts.append((batch.first_row, {name: getattr(batch, name).clone() for name in names}))
            if batch.final_observations is not None:
                for row, final in zip(
                    batch.final_observations.rows, batch.final_observations.observations, strict=True
                ):
                    finals.append((step, batch.first_row + int(row), final.clone()))
            if batch.episodes is not None:
                ends = (batch.terminated | batch.truncated).nonzero().flatten()
                assert torch.equal(batch.episodes.rows, ends)
                extras = {name: values.tolist() for name, values in batch.episodes.extra.items()}
                episodes.append(
                    (step, batch.episodes.returns.tolist(), batch.episodes.lengths.tolist(), extras)
                )
            env.send(actions[rows])
        for name in names:
            parts.sort(key=lambda part: part[0])
            columns[name].append(torch.cat([part[name] for _, part in parts]))
    return {name: torch.stack(values) for name, values in columns.items()}, finals, episodes


def same(one, other):
    columns, finals, _ = one
    other_columns, other_finals, _ = other
    for name, values in columns.items():
        assert torch.equal(values, other_columns[name]), name
    assert [entry[:2] for entry in sorted(finals, key=lambda f: f[:2])] == [
        entry[:2] for entry in sorted(other_finals, key=lambda f: f[:2])
    ]
    for mine, theirs in zip(
        sorted(finals, key=lambda f: f[:2]), sorted(other_finals, key=lambda f: f[:2]), strict=True
    ):
        assert torch.equal(mine[2], theirs[2])
    assert _episodes_by_step(one) == _episodes_by_step(other)


def _episodes_by_step(played):
    found = {}
    for step, returns, lengths, _ in played[2]:
        found.setdefault(step, []).extend(zip(returns, lengths, strict=True))
    return {step: sorted(pairs) for step, pairs in found.items()}


_REFERENCES = {}


def reference(case):
    """What the first backend of a case plays, made once."""
    if str(case) not in _REFERENCES:
        env = make_vector(make_config(case, case.backends[0]), "cpu", num_threads=1)
        try:
            _REFERENCES[str(case)] = play(env)
        finally:
            env.close()
    return _REFERENCES[str(case)]


@pytest.fixture(scope="class")
def planted_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLANTED))
        yield


@pytest.fixture(scope="class", params=PAIRS)
def made(request, planted_path):
    case, backend = request.param
    env = make_vector(make_config(case, backend), "cpu", num_threads=2)
    yield env, case, backend
    env.close()


class TestVectorContract:
    def test_trajectories_are_those_of_every_other_backend(self, made):
        env, case, _ = made
        same(play(env), reference(case))

    def test_reset_makes_it_like_new(self, made):
        env, case, _ = made
        play(env, seed=SEED + 1, steps=7)
        same(play(env), reference(case))

    def test_shapes_and_types_are_those_of_the_layouts(self, made):
        env, _case, backend = made
        assert env.num_agents == env.num_envs * env.agents_per_env
        assert env.backend == backend.split("/")[0]
        env.reset(SEED)
        batch = env.recv()
        assert batch.num_rows == env.batch_agents
        assert batch.first_row == 0
        assert batch.observations.shape == (env.batch_agents, *env.observation_layout.shape)
        assert batch.observations.dtype == env.observation_layout.dtype
        assert batch.rewards.dtype == torch.float32
        assert not batch.rewards.any()
        assert not batch.terminated.any()
        assert not batch.truncated.any()
        for flags in (batch.terminated, batch.truncated, batch.live):
            assert flags.dtype == torch.bool
            assert flags.shape == (env.batch_agents,)
        assert batch.final_observations is None
        assert batch.episodes is None

    def test_ends_come_with_statistics_and_last_observations(self, made):
        env, _case, _backend = made
        columns, finals, episodes = play(env)
        ends = columns["terminated"] | columns["truncated"]
        assert ends.any(), "the case must end episodes"
        assert not (columns["terminated"] & columns["truncated"]).any()
        truncated = {(int(step), int(row)) for step, row in columns["truncated"].nonzero()}
        assert {(step, row) for step, row, _ in finals} == truncated
        assert sum(len(returns) for _, returns, _, _ in episodes) == int(ends.sum())
        assert all(length >= 1 for _, _, lengths, _ in episodes for length in lengths)

    def test_lengths_and_returns_add_up(self, made):
        env, _case, _backend = made
        columns, _, episodes = play(env)
        ends = columns["terminated"] | columns["truncated"]
        expected = []
        for row in range(env.num_agents):
            begin = 1
            for step in ends[:, row].nonzero().flatten().tolist():
                live = columns["live"][begin : step + 1, row]
                rewards = columns["rewards"][begin : step + 1, row]
                expected.append((int(live.sum()), float(rewards[live].sum())))
                begin = step + 1
        got = [pair for _, returns, lengths, _ in episodes for pair in zip(lengths, returns, strict=True)]
        assert [length for length, _ in sorted(got)] == [length for length, _ in sorted(expected)]
        assert sum(value for _, value in got) == pytest.approx(sum(value for _, value in expected), rel=1e-5)

    def test_calls_out_of_order_are_named(self, made):
        env, _case, _backend = made
        actions = choose_actions(env.action_layout, env.batch_agents, torch.Generator())
        env.reset(SEED)
        with pytest.raises(RuntimeError, match="before"):
            env.send(actions)
        env.recv()
        env.send(actions)
        with pytest.raises(RuntimeError, match="before"):
            env.send(actions)
        env.recv()
        with pytest.raises(ValueError, match="shape"):
            env.send(actions[:-1])

    def test_facts_agree_with_what_is_made(self, made):
        env, case, backend = made
        facts = probe(make_config(case, backend))
        assert facts.backend == env.backend
        assert facts.agents_per_env == env.agents_per_env
        assert str(env.observation_layout.shape) in facts.observation
        assert facts.action.startswith(env.action_layout.kind)


@pytest.mark.parametrize("backend", CASES[0].backends)
def test_close_leaves_nothing_behind(backend):
    before = _leftovers()
    env = make_vector(make_config(CASES[0], backend), "cpu")
    with pytest.raises(RuntimeError, match="before"):
        env.recv()
    env.reset(SEED)
    env.recv()
    env.send(choose_actions(env.action_layout, env.batch_agents, torch.Generator()))
    env.close()
    env.close()
    assert _leftovers() == before
    with pytest.raises(RuntimeError, match="closed"):
        env.recv()


def _leftovers():
    """Child processes, shared-memory files and open descriptors of this process."""
    shared = {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(("psm_", "sem."))}
    me = psutil.Process()
    return {child.pid for child in me.children(recursive=True)}, shared, me.num_fds()
