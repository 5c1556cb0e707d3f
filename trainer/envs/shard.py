"""A shard: a contiguous range of environments stepped together on NumPy arrays.

Backends differ in where shards run (this process, worker processes, Ray actors); environments differ in how
a shard steps. Everything between the two is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from trainer.envs.layout import ActionLayout, ObservationLayout

Array = npt.NDArray[Any]

# Torch names its types as NumPy does, but for these, which it lacks or only half knows.
_GROWN = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """The NumPy type of a torch type that an observation may have."""
    return np.dtype(str(dtype).removeprefix("torch."))


def torch_dtype(dtype: npt.DTypeLike) -> torch.dtype:
    """The torch type that holds a NumPy type without loss; unsigned types that torch only half knows grow."""
    import torch  # not at the top: worker processes do without it

    name = np.dtype(dtype).name
    found = getattr(torch, _GROWN.get(name, name), None)
    if not isinstance(found, torch.dtype):
        raise TypeError(f"no torch type for {name}")
    return found


@dataclass(slots=True)
class Slots:
    """The arrays that a shard writes the result of a step to. B rows, O the observation's shape.

    Attributes:
        observations: (B, *O), already of the next episode where one ended.
        rewards: float32 (B,), as the learner gets them (clipped if the settings say so).
        terminated, truncated: bool (B,), never both.
        live: bool (B,); False for dummy steps and absent agents.
        final_observations: (B, *O); only rows with `truncated` mean anything.
        ended: bool (B,); rows for which `returns` and `lengths` tell of an episode that has just ended.
        returns: float64 (B,), sums of raw rewards.
        lengths: int64 (B,).
        replaceable: whether a shard may put other arrays of the same kind here instead of writing into these.
            False where the arrays lie in shared memory.
    """

    observations: Array
    rewards: Array
    terminated: Array
    truncated: Array
    live: Array
    final_observations: Array
    ended: Array
    returns: Array
    lengths: Array
    replaceable: bool = True

    @staticmethod
    def shapes(num_rows: int, layout: ObservationLayout) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Name → (shape, type) of every array, for whoever allocates them elsewhere."""
        flag, rows = np.dtype(np.bool_), (num_rows,)
        frame = ((num_rows, *layout.shape), numpy_dtype(layout.dtype))
        return {
            "observations": frame,
            "rewards": (rows, np.dtype(np.float32)),
            "terminated": (rows, flag),
            "truncated": (rows, flag),
            "live": (rows, flag),
            "final_observations": frame,
            "ended": (rows, flag),
            "returns": (rows, np.dtype(np.float64)),
            "lengths": (rows, np.dtype(np.int64)),
        }

    @classmethod
    def allocate(cls, num_rows: int, layout: ObservationLayout) -> Slots:
        """Fresh arrays in this process's own memory."""
        shapes = cls.shapes(num_rows, layout)
        slots = cls.of({name: np.zeros(shape, kind) for name, (shape, kind) in shapes.items()})
        slots.replaceable = True
        return slots

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Slots:
        """Slots over arrays that must stay where they are."""
        return cls(**arrays, replaceable=False)

    def begin(self) -> None:
        """Set everything but the observations to what a reset has: no rewards, no ends, everybody live."""
        self.rewards.fill(0.0)
        self.terminated.fill(False)
        self.truncated.fill(False)
        self.ended.fill(False)
        self.live.fill(True)


@dataclass(frozen=True, slots=True)
class Report:
    """What a shard says beside its slots.

    Attributes:
        extras: row (within the shard) → name → number, of episodes that ended in this step.
        quiet: whether surely no row's episode has ended, so that nobody needs to look.
    """

    extras: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    quiet: bool = False


NOTHING_TO_REPORT = Report()
QUIET = Report(quiet=True)


def any_true(flags: Array) -> bool:
    """Whether any of (B,) flags is set.

    While native threads step, they drive NumPy's machinery out of the caches: searching bytes costs a fraction then.
    """
    return b"\1" in flags.tobytes()


FAULTS = (Exception, SystemExit)
"""What counts as an environment's failure: one that calls `sys.exit` must not end the trainer without a word."""


class FaultyEnvironmentError(Exception):
    """Raised by a shard when one of its environments fails; backends turn it into an EnvironmentFault.

    Args:
        env: index within the shard.
        what: what happened, as a sentence without the index.
        action: the action that was being carried out, None for a reset.
        cause: the traceback's text, None where there is none.
    """

    def __init__(self, env: int, what: str, *, action: str | None = None, cause: str | None = None) -> None:
        super().__init__(env, what, action, cause)
        self.env, self.what, self.action, self.cause = env, what, action, cause

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_fault, (self.env, self.what, self.action, self.cause))


def _rebuild_fault(env: int, what: str, action: str | None, cause: str | None) -> FaultyEnvironmentError:
    return FaultyEnvironmentError(env, what, action=action, cause=cause)


class Shard(ABC):
    """Steps a contiguous range of environments. Not thread-safe; lives in one process.

    Attributes:
        num_envs, agents_per_env: `num_envs * agents_per_env` rows.
        action_layout: of one agent.
        cursor: one number that says which environment is being stepped, -1 for all at once. A backend may put
            an array in shared memory here, to know where a worker hangs or has died.
        always_finite: whether neither rewards nor observations can be NaN or infinite, so that nobody looks.
    """

    num_envs: int
    agents_per_env: int = 1
    action_layout: ActionLayout
    cursor: Array
    always_finite: bool = False

    @property
    @abstractmethod
    def observation_layout(self) -> ObservationLayout:
        """Of one agent. Needs torch, unlike everything else here."""

    @property
    def num_rows(self) -> int:
        """Agents of all environments of this shard."""
        return self.num_envs * self.agents_per_env

    @abstractmethod
    def reset(self, seed: int, slots: Slots) -> None:
        """Begin anew, environment i seeded with `seed + i`, as if the shard had just been made."""

    @abstractmethod
    def step(self, actions: Array, slots: Slots) -> Report:
        """Step every environment.

        Args:
            actions: (B, width) int64 or float32, inside the layout's bounds.
            slots: written to.

        Raises:
            FaultyEnvironmentError: an environment raised or returned nonsense.
        """

    @abstractmethod
    def close(self) -> None:
        """Free everything; may be called twice."""


class OverlappingShard(Shard):
    """A shard that steps without the interpreter, so that the caller may do something else meanwhile.

    `begin`, then `finish`; what it has handed out before is valid until the next `begin`.
    """

    @abstractmethod
    def begin(self, actions: Array) -> None:
        """Let every environment step, without waiting for it. Arguments and errors as of `step`."""

    @abstractmethod
    def finish(self, slots: Slots) -> Report:
        """Wait for the step that was begun, and write what it led to."""

    def step(self, actions: Array, slots: Slots) -> Report:
        """Step every environment and wait for it."""
        self.begin(actions)
        return self.finish(slots)


class EpisodeCounter:
    """Returns and lengths of running episodes, for many rows at once.

    A length is the time since the episode's beginning, so that a step in which nothing ends costs one addition.
    """

    def __init__(self, num_rows: int) -> None:
        self._returns = np.zeros(num_rows, np.float64)
        self._begun_at = np.zeros(num_rows, np.int64)
        self._now = 0
        self._said_ends = True

    def begin(self) -> None:
        """Forget all running episodes."""
        self._returns.fill(0.0)
        self._begun_at.fill(0)
        self._now = 0
        self._said_ends = True

    def pass_time(self, raw_rewards: Array | None) -> None:
        """Add one step in which nothing ended, after another such: None where there were no rewards either."""
        self._now += 1
        if raw_rewards is not None:
            np.add(self._returns, raw_rewards, self._returns)

    def count(self, raw_rewards: Array, ended: Array, slots: Slots, live: Array | None = None) -> bool:
        """Add one step and write what ended into the slots.

        Args:
            raw_rewards: (B,) unclipped.
            ended: bool (B,), rows whose episode ends with this step.
            slots: `ended`, `returns`, `lengths` are written. Nobody else writes to `ended` between two calls.
            live: bool (B,), rows that really stepped; None for all.

        Returns:
            Whether any episode ended.
        """
        self._now += 1
        np.add(self._returns, raw_rewards, self._returns)
        if live is not None:
            self._begun_at += ~live
        if not any_true(ended):
            if self._said_ends:
                slots.ended.fill(False)
                self._said_ends = False
            return False
        slots.ended[...] = ended
        self._said_ends = True
        slots.returns[ended] = self._returns[ended]
        slots.lengths[ended] = self._now - self._begun_at[ended]
        self._returns[ended] = 0.0
        self._begun_at[ended] = self._now
        return True


def check_finite(shard: Shard, slots: Slots, choices: Any) -> None:
    """Look for numbers that nothing can be learnt from, after a shard's step or reset.

    Raises:
        FaultyEnvironmentError: a reward or an observation is NaN or infinite.
    """
    if shard.always_finite:
        return
    for what, values in (("reward", slots.rewards), ("observation", slots.observations)):
        # One pass without a temporary array says that all is well, nearly always.
        if values.dtype.kind != "f" or np.isfinite(np.add.reduce(values, axis=None)):
            continue
        wrong = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            action = None if choices is None else str(np.asarray(choices)[row].tolist())
            raise FaultyEnvironmentError(
                row // shard.agents_per_env, f"returned a NaN or infinite {what}", action=action
            )
