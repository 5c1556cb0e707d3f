"""Environments for tests: small, exactly predictable, some of them broken on purpose.

Found by import path (`planted_environments:make_countdown`) also in worker processes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

import gymnasium
import numpy as np
from gymnasium import spaces


class Countdown(gymnasium.Env):
    """Episodes of 3 to 9 steps, drawn from the seed; odd lengths are truncated, even ones terminate.

    The observation is (seed's draw, steps left, last action), the reward the action plus a tenth.
    """

    def __init__(self, kind="float32", scale=1.0):
        self.observation_space = spaces.Box(-1e6, 1e6, (3,), np.dtype(kind))
        self.action_space = spaces.Discrete(5)
        self.scale = scale

    def _observe(self, action):
        return np.array([self.draw, self.left, action]).astype(self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.draw = int(self.np_random.integers(0, 100))
        self.length = self.left = int(self.np_random.integers(3, 10))
        return self._observe(0), {}

    def step(self, action):
        self.left -= 1
        over = self.left == 0
        odd = self.length % 2 == 1
        info = {"draw": self.draw, "name": "countdown", "goal": np.bool_(odd)} if over else {"draw": -1}
        return self._observe(action), (action + 0.1) * self.scale, over and not odd, over and odd, info


class Nested(Countdown):
    """Countdown whose observation and action are nested."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict(
            {
                "numbers": spaces.Box(-1e6, 1e6, (3,), np.float32),
                "pair": spaces.Tuple((spaces.Discrete(4, start=1), spaces.MultiDiscrete([2, 3]))),
                "picture": spaces.Box(0, 255, (2, 2), np.uint8),
                "words": spaces.Text(10),
                "bits": spaces.MultiBinary(3),
            }
        )
        self.action_space = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.MultiDiscrete([2, 4])})

    def _observe(self, action):
        numbers = np.array([self.draw, self.left, action], np.float32)
        return {
            "numbers": numbers,
            "pair": (self.left % 4 + 1, np.array([self.left % 2, self.draw % 3])),
            "picture": np.full((2, 2), self.draw, np.uint8),
            "words": "hello",
            "bits": np.array([1, 0, self.left % 2], np.int8),
        }

    def step(self, action):
        return super().step(int(action["a"]) + 3 * int(action["b"][0]) + 6 * int(action["b"][1]))


class Steering(Countdown):
    """Countdown with two continuous actions; the reward is their sum."""

    def __init__(self):
        super().__init__()
        self.action_space = spaces.Box(np.float32([-1, 0]), np.float32([1, 2]))

    def step(self, action):
        assert self.action_space.contains(action), action
        return super().step(float(action.sum()))


def _raise():
    raise ValueError("planted in step")


def _hang():
    threading.Event().wait()


def _try_again_for_ever():
    while True:
        try:
            threading.Event().wait()
        except Exception:  # noqa: BLE001
            continue


def _count_for_ever():
    for _ in iter(int, 1):
        pass


def hang_in_native_code():
    """Wait for a mutex that this thread holds: no signal ends that, and the interpreter's lock is free."""
    library = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


BREAKS = {
    "raise": _raise,
    "hang": _hang,
    "try again for ever": _try_again_for_ever,
    "count for ever": _count_for_ever,
    "hang in native code": hang_in_native_code,
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "leave": lambda: sys.exit("planted end"),
}


class Faulty(Countdown):
    """Breaks in its third step if it was seeded with `victim`; -1 for any seed."""

    def __init__(self, fault="raise", victim=0):
        super().__init__()
        self.fault, self.victim, self.steps = fault, victim, 0
        self.mine = False

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.mine, self.steps = self.victim in (seed, -1), 0
        if self.mine and self.fault == "raise in reset":
            raise ValueError("planted in reset")
        return super().reset(seed=seed)

    def step(self, action):
        self.steps += 1
        result = list(super().step(action))
        if self.mine and self.steps == 3:
            BREAKS.get(self.fault, lambda: None)()
            if self.fault == "nan observation":
                result[0] = np.full(3, np.nan, np.float32)
            if self.fault == "nan reward":
                result[1] = float("nan")
            if self.fault == "wrong shape":
                result[0] = np.zeros(4, np.float32)
            if self.fault == "nothing":
                return None
        return tuple(result)


def make_faulty_vector(fault="raise", victim=0):
    """The same as one of Gymnasium's vector environments, of one environment."""
    mode = gymnasium.vector.AutoresetMode.SAME_STEP
    return gymnasium.vector.SyncVectorEnv([lambda: Faulty(fault, victim)], autoreset_mode=mode)


class FaultyGroup:
    """The same with PettingZoo's parallel interface, of two agents."""

    possible_agents = ("a", "b")

    def __init__(self, fault="raise", victim=0):
        self.metadata = {}
        self.env = Faulty(fault, victim)

    def observation_space(self, agent):
        return self.env.observation_space

    def action_space(self, agent):
        return self.env.action_space

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        observation, _ = self.env.reset(seed=seed)
        return dict.fromkeys(self.agents, observation), {}

    def step(self, actions):
        observation, reward, terminated, truncated, _ = self.env.step(actions["a"])
        told = [dict.fromkeys(self.agents, one) for one in (observation, reward, terminated, truncated)]
        if terminated or truncated:
            self.agents = []
        return *told, {}

    def close(self):
        self.env.close()


class Meeting:
    """PettingZoo's parallel interface: agent k leaves after k + 2 steps; `late` is there from step 1 to 3 only."""

    def __init__(self):
        self.possible_agents = ["a", "b", "late"]
        self.metadata = {}

    def observation_space(self, agent):
        return spaces.Box(-100, 100, (2,), np.float32)

    def action_space(self, agent):
        return spaces.Discrete(3)

    def _observe(self):
        return {agent: np.float32([self.number, self.time]) for agent in self.agents}

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.number = seed
        self.number += 1
        self.time = 0
        self.agents = ["a", "b"]
        return self._observe(), {}

    def step(self, actions):
        assert set(actions) == set(self.agents), (actions, self.agents)
        self.time += 1
        leaving = {"a": 2, "b": 4, "late": 3}
        everybody = list(self.agents)
        over = {agent: self.time == leaving[agent] for agent in everybody}
        observations = {agent: np.float32([self.number, self.time]) for agent in everybody}
        rewards = {agent: float(actions[agent]) for agent in everybody}
        terminated = {agent: over[agent] and agent != "b" for agent in everybody}
        truncated = {agent: over[agent] and agent == "b" for agent in everybody}
        infos = {agent: {"time": self.time} for agent in everybody}
        self.agents = [agent for agent in everybody if not over[agent]]
        if self.time == 1:
            self.agents.append("late")
            observations["late"] = np.float32([self.number, self.time])
        return observations, rewards, terminated, truncated, infos

    def close(self):
        pass


class Pufferish:
    """PufferLib's native interface: `agents` in one object, buffers of its own, episodes of 4 steps."""

    def __init__(self, agents=3):
        self.num_agents = agents
        self.single_observation_space = spaces.Box(0, 255, (2,), np.uint8)
        self.single_action_space = spaces.Discrete(2)
        self.observations = np.zeros((agents, 2), np.uint8)

    def reset(self, seed=None):
        self.observations[:, 0] = seed % 200 + np.arange(self.num_agents)
        self.observations[:, 1] = self.time = 0
        return self.observations, []

    def step(self, actions):
        self.time = (self.time + 1) % 4
        over = np.full(self.num_agents, self.time == 0)
        self.observations[:, 1] = self.time
        infos = [{"speed": 2.5}] if over.any() else []
        return self.observations, np.asarray(actions, np.float32), np.zeros_like(over), over, infos

    def close(self):
        pass


def make_countdown(kind="float32", scale=1.0):
    return Countdown(kind, scale)


def make_vector_countdown(agents=3, same_step=True):
    mode = gymnasium.vector.AutoresetMode.SAME_STEP if same_step else gymnasium.vector.AutoresetMode.NEXT_STEP
    return gymnasium.vector.SyncVectorEnv([Countdown] * agents, autoreset_mode=mode)


class CountdownVector(gymnasium.vector.SyncVectorEnv):
    """Registered beside Countdown as its vector environment; does not know `kind`."""

    def __init__(self, num_envs, scale=1.0):
        mode = gymnasium.vector.AutoresetMode.SAME_STEP
        super().__init__([lambda: Countdown(scale=scale)] * num_envs, autoreset_mode=mode)


def make_nothing():
    return object()


def make_partly_continuous():
    env = Countdown()
    env.action_space = spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 1, (1,))))
    return env


def make_sequence():
    env = Countdown()
    env.observation_space = spaces.Sequence(spaces.Discrete(2))
    return env


def make_once(parent):
    if os.getpid() != parent:
        raise RuntimeError("only in the parent")
    return Countdown()
