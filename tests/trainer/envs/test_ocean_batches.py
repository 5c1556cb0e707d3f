"""What all environments of our own have in common: seeds, states, layouts, rules of the games."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import Config
from trainer.envs.ocean.draws import _GOLDEN, Draws, mix
from trainer.envs.ocean.recipe import ENVIRONMENTS
from trainer.vector import make_vector

CPU = torch.device("cpu")
STEPS = 60


def make(name, num_envs, **env):
    return make_vector(
        Config(base={"package": "ocean", "env_name": name}, env=env, vec={"num_envs": num_envs}), CPU
    )


def actions_for(env, step, rows):
    """Actions that depend on the step and the row alone, so that batches of different sizes agree."""
    generator = np.random.default_rng(step)
    layout = env.action_layout
    if layout.kind == "continuous":
        return torch.from_numpy(generator.uniform(-3, 3, (64, layout.width)).astype(np.float32))[rows]
    chosen = np.stack([generator.integers(0, size, 64) for size in layout.sizes], axis=1)
    return torch.from_numpy(chosen)[rows]


def play(env, rows, steps=STEPS, begin=0):
    seen = []
    for step in range(begin, begin + steps):
        batch = env.recv()
        fields = (batch.observations, batch.rewards, batch.terminated, batch.truncated)
        final = None if batch.final_observations is None else batch.final_observations.observations.clone()
        told = batch.episodes
        episodes = None if told is None else (told.returns, told.lengths, told.rows)
        seen.append((*(field.clone() for field in fields), final, episodes))
        env.send(actions_for(env, step, rows))
    return seen


def equal(one, other):
    for mine, theirs in zip(one, other, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            if a is None or b is None:
                assert a is b
            elif isinstance(a, tuple):
                assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
            else:
                assert torch.equal(a, b)


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
class TestEveryEnvironment:
    def test_an_environment_depends_on_its_seed_alone(self, name):
        many, one = make(name, 8), make(name, 1)
        agents = many.agents_per_env
        many.reset(20)
        one.reset(20 + 5)
        rows = slice(5 * agents, 6 * agents)
        for all_of_them, alone in zip(play(many, slice(0, 8 * agents)), play(one, rows), strict=True):
            for theirs, mine in zip(all_of_them[:4], alone[:4], strict=True):
                torch.testing.assert_close(theirs[rows], mine, rtol=1e-6, atol=1e-6)

    def test_reset_makes_it_like_new(self, name):
        env = make(name, 8)
        rows = slice(0, env.num_agents)
        env.reset(3)
        first = play(env, rows)
        env.reset(4)
        play(env, rows, steps=13)
        env.reset(3)
        equal(play(env, rows), first)

    def test_a_saved_state_goes_on_where_it_was(self, name):
        env = make(name, 8)
        rows = slice(0, env.num_agents)
        env.reset(9)
        play(env, rows, steps=17)
        state = env.state_dict()
        assert all(isinstance(value, torch.Tensor) for value in state.values())
        expected = play(env, rows, begin=17)
        other = make(name, 8)
        other.reset(1)
        other.load_state_dict(state)
        found = play(other, rows, begin=17)
        assert torch.equal(found[0][0], expected[0][0])
        equal(found[1:], expected[1:])

    def test_layouts_tell_the_truth(self, name):
        env = make(name, 8)
        env.reset(0)
        layout = env.observation_layout
        for observations, rewards, terminated, truncated, _, _ in play(env, slice(0, env.num_agents)):
            assert observations.shape == (env.num_agents, *layout.shape)
            assert observations.dtype == layout.dtype
            assert rewards.dtype == torch.float32
            assert terminated.shape == truncated.shape == (env.num_agents,)
            assert not (terminated & truncated).any()
            if layout.low is not None:
                assert float(observations.min()) >= layout.low
                assert float(observations.max()) <= layout.high

    def test_returns_add_up(self, name):
        env = make(name, 8)
        env.reset(0)
        total, counted = 0.0, 0.0
        running = torch.zeros(env.num_agents, dtype=torch.float64)
        for _, rewards, terminated, truncated, _, episodes in play(env, slice(0, env.num_agents), 250):
            running += rewards
            ended = terminated | truncated
            assert (episodes is not None) == bool(ended.any())
            if episodes is not None:
                total += float(running[ended].sum())
                counted += float(episodes[0].sum())
                assert torch.equal(episodes[2], ended.nonzero().flatten())
                running[ended] = 0.0
        assert counted == pytest.approx(total, rel=1e-5, abs=1e-4)

    @pytest.mark.gpu
    def test_the_gpu_plays_the_same(self, name):
        config = Config(base={"package": "ocean", "env_name": name}, vec={"num_envs": 8})
        there, here = make_vector(config, "cuda"), make_vector(config, "cpu")
        there.reset(3)
        here.reset(3)
        for step in range(STEPS):
            mine, theirs = here.recv(), there.recv()
            assert theirs.observations.is_cuda
            torch.testing.assert_close(theirs.observations.cpu(), mine.observations, rtol=1e-3, atol=1e-3)
            actions = actions_for(here, step, slice(0, here.num_agents))
            here.send(actions)
            there.send(actions.cuda())


@given(seed=st.integers(0, 2**31), count=st.integers(1, 50))
def test_draws_are_within_bounds_and_repeat(seed, count):
    draws = Draws(7, CPU)
    draws.begin(seed)
    numbers = draws.uniform(None, count)
    again = draws.uniform(torch.tensor([2, 5]), count)
    assert numbers.shape == (7, count)
    assert bool((numbers >= 0).all())
    assert bool((numbers < 1).all())
    other = Draws(7, CPU)
    other.begin(seed)
    assert torch.equal(other.uniform(None, count), numbers)
    assert torch.equal(other.uniform(None, count)[[2, 5]], again)


def test_draws_look_even():
    draws = Draws(1000, CPU)
    draws.begin(0)
    numbers = draws.uniform(None, 1000, torch.float64)
    assert float(numbers.mean()) == pytest.approx(0.5, abs=0.002)
    assert float(numbers.var()) == pytest.approx(1 / 12, abs=0.001)
    histogram = torch.histc(numbers, 20, 0, 1) / numbers.numel()
    assert float((histogram - 0.05).abs().max()) < 0.002
    # Neighbouring environments and neighbouring draws have nothing to do with each other.
    assert abs(float(torch.corrcoef(numbers[:2])[0, 1])) < 0.12
    assert abs(float(torch.corrcoef(numbers[:, :2].t())[0, 1])) < 0.12
    assert torch.equal(torch.bincount(draws.integers(None, 1000, 3).flatten()) > 330_000, torch.ones(3) > 0)


def drive(env, choose, steps):
    """Play with a function of the environment's internals; returns all returns."""
    env.reset(0)
    returns = []
    for _ in range(steps):
        batch = env.recv()
        if batch.episodes is not None:
            returns += batch.episodes.returns.tolist()
        env.send(choose(env._env))
    return returns


def column(values):
    return values.to(torch.int64)[:, None]


PERFECT = {
    "bandit": lambda env: torch.full((env.num_envs, 1), 2),
    "password": lambda env: column(env.password[env.place]),
    "multiagent": lambda env: column(torch.arange(2 * env.num_envs) % 2),
    "memory": lambda env: column(env.bits.gather(1, (env.time - 4).clamp(0, 1)[:, None])[:, 0]),
    "spaces": lambda env: torch.stack(
        (env.numbers[:, :25].sum(1) > 0, env.numbers[:, 25:].sum(1) > 0), dim=1
    ).to(torch.int64),
    "squared": lambda env: column(_towards(env)),
    "continuous": lambda env: ((env.target - env.place) * 10).clamp(-1, 1),
    "stochastic": lambda env: column(env.count.float() > 0.7 * (env.steps + 0.5)),
}


def _towards(env):
    way = (env.target - env.place).sign()
    same = (env._moves[None] == way[:, None]).all(2)
    return same.to(torch.int64).argmax(1)


@pytest.mark.parametrize("name", sorted(PERFECT))
def test_perfect_play_of_the_sanity_suite_scores_one(name):
    returns = drive(make(name, 16), PERFECT[name], 210)
    floor = 0.97 if name == "stochastic" else 0.999
    assert len(returns) > 16
    assert floor < np.mean(returns) < 1.001


def test_breakout_can_be_played_for_ever():
    def follow(env):
        """To where the ball comes down next."""
        row = env.ball[:, 0] + env.heading[:, 0]
        target = env.ball[:, 1] + env.heading[:, 1]
        coming = row == 9
        stay = torch.where(coming, env.ball[:, 1], target.clamp(0, 9))
        return column(torch.where(stay < env.paddle, 1, torch.where(stay > env.paddle, 2, 0)))

    returns = drive(make("breakout", 16), follow, 1010)
    assert len(returns) >= 16
    assert np.mean(returns) > 60


def test_pong_can_be_won():
    def follow(env):
        away = env.ball[:, 1] - env.paddles[:, 0] + 0.08 * (env.steps // 200 % 2 * 2 - 1)
        return column(torch.where(away < -0.03, 1, torch.where(away > 0.03, 2, 0)))

    returns = drive(make("pong", 16), follow, 2010)
    assert np.mean(returns) > 2


def test_snake_grows_when_it_eats():
    def hunt(env):
        size = env.settings.size
        down = env.food // size - env.head // size
        right = env.food % size - env.head % size
        return column(torch.where(down < 0, 0, torch.where(down > 0, 2, torch.where(right > 0, 1, 3))))

    env = make("snake", 16)
    returns = drive(env, hunt, 300)
    assert np.mean(returns) > 3
    state = env._env
    assert torch.equal((state.life > 0).sum(1), torch.minimum(state.length, (state.life > 0).sum(1)))
    assert bool((state.life.amax(1) == state.length).all())


def test_snake_dies_of_hunger_and_walls():
    round_and_round = drive(make("snake", 4, hunger=10), lambda env: column(env.steps // 2 % 4), 30)
    assert min(round_and_round) == -1.0
    straight_on = drive(make("snake", 4), lambda env: torch.full((4, 1), 1), 10)
    assert all(value <= 0 for value in straight_on)


@given(seed=st.integers(0, 2**31), rounds=st.integers(0, 3))
def test_both_ways_to_draw_give_the_same_bits(seed, rounds):
    draws = Draws(5, CPU)
    draws.begin(seed)
    for _ in range(rounds):
        draws.bits(None, 2)
    keys = mix(mix(draws.seeds * _GOLDEN) + draws.counters * _GOLDEN)
    expected = mix(keys[:, None] + torch.arange(1, 4) * _GOLDEN)
    assert torch.equal(draws.bits(None, 3), expected)


def test_an_incentive_is_the_learners_and_not_the_scores():
    """Mountain car's energy is paid for by the difference between its end and its start."""
    paid = []
    for energy_reward in (0.0, 100.0):
        env = make("mountain_car", 3, max_steps=50, energy_reward=energy_reward)
        env.reset(1)
        batch = env.recv()
        start = batch.observations.clone()
        rewards = torch.zeros(3)
        for _ in range(50):
            env.send((batch.observations[:, 1:] > 0).long() * 2)
            batch = env.recv()
            rewards += batch.rewards
        assert batch.episodes.returns.tolist() == [-50.0] * 3
        final = batch.final_observations.observations
        paid.append(rewards)
        env.close()

    def energy(state):
        return (0.5 * state[:, 1] ** 2 + (3 * state[:, 0]).sin() * 0.0025 / 3) / (2 * 0.0025 / 3)

    torch.testing.assert_close((paid[1] - paid[0]) / 100, energy(final) - energy(start), atol=1e-3, rtol=0)
