"""What a run on CUDA keeps in static memory, with its captured steps, and the runs after it take over.

A capture costs up to seconds and is worth them only when many trials share it: an engine is kept under
everything that its graphs have fixed (shapes, formats, the policy's structure, flags), and a later run of the
same key puts its own weights, hyperparameters and seed into the same memory.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from trainer.cuda.collect import DeviceCollector
from trainer.cuda.optimizers import FlatOptimizer
from trainer.cuda.rollout import DeviceRollout, GraphedAct
from trainer.cuda.update import StaticLearner, StaticUpdate
from trainer.ppo.rollout import Collector
from trainer.vector.tensors import TensorVectorEnv

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from trainer.cuda.capture import Capture, Captured
    from trainer.policies.base import Agent
    from trainer.policies.precision import Compute
    from trainer.policies.sampling import ActionDistribution
    from trainer.ppo.buffer import RolloutBuffer
    from trainer.ppo.update import Coefficients, PieceGradients, Plan
    from trainer.vector.base import VectorEnv


@dataclass(frozen=True, slots=True)
class Ways:
    """How the steps of an engine are computed.

    Attributes:
        capture: makes steps replayable.
        act: as `trainer.ppo.rollout.act`.
        differentiate: as `trainer.ppo.update.piece_gradients`.
        advantages: as `trainer.cuda.advantage.advantages_by_scan`.
    """

    capture: Capture
    act: Callable[..., Any]
    differentiate: Callable[..., PieceGradients]
    advantages: Callable[..., torch.Tensor]


@dataclass(slots=True)
class Memory:
    """What an engine's steps work on, all of it made once."""

    agent: Agent
    compute: Compute
    distribution: ActionDistribution
    optimizer: torch.optim.Optimizer
    buffer: RolloutBuffer
    coefficients: Coefficients
    generator: torch.Generator


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a run puts into tensors that the steps read.

    Attributes:
        coefficients: in the order of `Coefficients`.
        betas, eps, max_grad_norm: of the optimiser.
    """

    coefficients: tuple[float, ...]
    betas: tuple[float, float]
    eps: float
    max_grad_norm: float


class Engine:
    """Static memory, and the steps that work on it.

    Args:
        memory: what the steps work on.
        plan: how a batch is cut.
        horizon, rounds: T, and segments per row.
        ways: how the steps are computed.

    Attributes:
        capture_seconds: that captures have taken so far.
    """

    def __init__(self, memory: Memory, plan: Plan, *, horizon: int, rounds: int, ways: Ways) -> None:
        self.memory = memory
        self.in_use = False
        self.horizon, self.rounds = horizon, rounds
        self.ways = ways
        self.optimizer = FlatOptimizer(memory.optimizer)
        self.update = StaticUpdate(
            memory.agent,
            memory.compute,
            memory.distribution,
            self.optimizer,
            memory.buffer,
            memory.coefficients,
            plan,
            generator=memory.generator,
            advantages=ways.advantages,
            differentiate=ways.differentiate,
        )
        self.capture_seconds = 0.0
        self.learner = StaticLearner(self.update, self._capture, _nothing)
        self._graphed_act = GraphedAct(self._capture, ways.act)
        self._device_collector: DeviceCollector | None = None
        self._vector: weakref.ref[VectorEnv] | None = None

    def _capture(
        self,
        name: str,
        step: Callable[[], None],
        kept: Sequence[torch.Tensor],
        generators: Sequence[torch.Generator],
    ) -> Captured:
        captured = self.ways.capture(name, step, kept, generators)
        self.capture_seconds += captured.seconds
        return captured

    def begin(self, fresh: Agent, hyperparameters: Hyperparameters, seed: int) -> None:
        """Make everything as a run of its own would: new weights, no gradients seen, a new seed."""
        if fresh is not self.memory.agent:
            self.memory.agent.load_state_dict(fresh.state_dict())
        self.memory.compute.refresh()
        self.optimizer.begin(
            hyperparameters.betas, hyperparameters.eps, max_norm=hyperparameters.max_grad_norm
        )
        for tensor, value in zip(self.memory.coefficients, hyperparameters.coefficients, strict=True):
            tensor.fill_(value)
        self.memory.generator.manual_seed(seed)

    def collector(self, vector: VectorEnv, on_step: Callable[[], None]) -> Collector | DeviceCollector:
        """What fills the buffer: all on the device for environments of our own, else step by step."""
        memory = self.memory
        if not isinstance(vector, TensorVectorEnv):
            return Collector(
                vector,
                memory.compute.agent,
                memory.distribution,
                horizon=self.horizon,
                rounds=self.rounds,
                generator=memory.generator,
                on_step=on_step,
                act_function=self._graphed_act,
            )
        known = self._vector() if self._vector is not None else None
        if self._device_collector is None or known is not vector:
            # The graph before, if there is one, knows the memory of environments that are gone.
            self._device_collector = None
            rollout = DeviceRollout(
                vector.environment,
                vector.running_returns,
                memory.compute.agent,
                memory.distribution,
                memory.buffer,
                horizon=self.horizon,
                rounds=self.rounds,
                generator=memory.generator,
                act_function=self.ways.act,
            )
            self._device_collector = DeviceCollector(rollout, self._capture)
            self._vector = weakref.ref(vector)
        self._device_collector.attach(vector, on_step)
        return self._device_collector

    def captures(self) -> tuple[Captured, ...]:
        """What has been captured so far."""
        rollout = self._device_collector.captured if self._device_collector is not None else ()
        return (*rollout, *self._graphed_act.captured, *self.learner.captured)


def _nothing() -> None:
    pass


@dataclass(slots=True)
class EngineCache:
    """The engines of a process, those used last.

    Attributes:
        limit: engines that are kept: each holds a buffer on the device.
    """

    limit: int = 2
    _engines: OrderedDict[Hashable, Engine] = field(default_factory=OrderedDict)

    def take(self, key: Hashable, make: Callable[[], Engine]) -> Engine:
        """The engine of a key for a run alone, made where there is none that is free.

        Engines that nobody uses make room: beyond the limit, and when the device's memory does not suffice.

        Raises:
            torch.OutOfMemoryError: nor does it without them.
        """
        known = self._engines.get(key)
        if known is not None and not known.in_use:
            self._engines.move_to_end(key)
            known.in_use = True
            return known
        self._shrink(self.limit - 1)
        try:
            engine = make()
        except torch.OutOfMemoryError:
            if not self._shrink(0):
                raise
            engine = None
        if engine is None:  # outside of the handler, which keeps the failed attempt's memory
            torch.cuda.empty_cache()
            engine = make()
        engine.in_use = True
        if known is None:
            self._engines[key] = engine
        return engine

    def give_back(self, engine: Engine, *, broken: bool) -> None:
        """A run is over; what it leaves broken is not used again."""
        engine.in_use = False
        if broken:
            self._engines = OrderedDict(
                (key, other) for key, other in self._engines.items() if other is not engine
            )

    def _shrink(self, limit: int) -> bool:
        """Drop idle engines, those used longest ago first; whether any was dropped."""
        idle = [key for key, engine in self._engines.items() if not engine.in_use]
        dropped = idle[: max(0, len(self._engines) - limit)]
        for key in dropped:
            del self._engines[key]
        return bool(dropped)

    def __len__(self) -> int:
        return len(self._engines)
