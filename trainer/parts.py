"""Everything a run computes with, made for it or, on CUDA, taken over from the run before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import torch

from trainer.acceleration import borrow_engine, choose_paths, give_engine_back
from trainer.cuda.engine import Engine, Hyperparameters, Memory
from trainer.cuda.memory import buffer_bytes
from trainer.errors import MemoryExhaustedError
from trainer.optimizers import make_optimizer
from trainer.policies import make_compute, make_distribution, make_policy
from trainer.ppo.buffer import RolloutBuffer
from trainer.ppo.update import Coefficients, Learner, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.config import Config, TrainSection
    from trainer.cuda.collect import DeviceCollector
    from trainer.cuda.update import StaticLearner
    from trainer.policies import Agent
    from trainer.ppo.rollout import Collector
    from trainer.vector.base import VectorEnv


@dataclass(slots=True)
class Parts:
    """What a run computes with.

    Attributes:
        memory: the agent, its optimiser, the buffer and the rest that lies in tensors.
        collector, learner: work on it.
        batch_steps: agent steps of a batch.
        engine: owns all of it, where it outlives the run.
        manner: one sentence on how the steps run, for the run's facts.
        seconds_before: that the engine's captures had taken before this run.
    """

    memory: Memory
    collector: Collector | DeviceCollector
    learner: Learner | StaticLearner
    batch_steps: int
    engine: Engine | None
    manner: str
    seconds_before: float = 0.0

    def capture_seconds(self) -> float:
        """Time that this run has spent on captures; 0 where it found all of them ready."""
        return 0.0 if self.engine is None else self.engine.capture_seconds - self.seconds_before

    def load_optimizer(self, saved: Mapping[str, Any]) -> None:
        """Take over an optimiser's state.

        Raises:
            ValueError, KeyError, RuntimeError: it is of other parameters.
        """
        if self.engine is not None:
            self.engine.optimizer.load(saved)
        else:
            self.memory.optimizer.load_state_dict(dict(saved))

    def describe(self) -> str:
        """How the steps have run, with what could not be captured."""
        captures = self.engine.captures() if self.engine is not None else ()
        reasons = [captured.reason for captured in captures if captured.reason is not None]
        return f"{self.manner}; not captured: {reasons[0]}" if reasons else self.manner

    def release(self, *, broken: bool) -> None:
        """The run is over; afterwards the parts may belong to another one."""
        if self.engine is not None:
            give_engine_back(self.engine, broken=broken)


def make_parts(
    config: Config, vector: VectorEnv, device: torch.device, on_heartbeat: Callable[[], None]
) -> Parts:
    """The parts of a run with a resolved config.

    Raises:
        ConfigError: a policy that cannot be made.
        torch.OutOfMemoryError: the device cannot hold them.
        MemoryExhaustedError: the host cannot.
    """
    settings = config.train
    horizon, batch_size = _whole_number(settings.bptt_horizon), _whole_number(settings.batch_size)
    # Whole rounds of all agents: a batch size that is no multiple of agents x horizon is rounded up.
    rounds = -(-batch_size // (vector.num_agents * horizon))
    batch_steps = rounds * vector.num_agents * horizon
    plan = Plan(
        num_minibatches=max(1, settings.update_epochs * batch_steps // settings.minibatch_size),
        minibatch_segments=settings.minibatch_size // horizon,
        piece_segments=max(1, min(settings.minibatch_size, settings.max_minibatch_size) // horizon),
        max_grad_norm=settings.max_grad_norm,
        prioritised=settings.prio_alpha > 0,
    )
    agent = make_policy(config, vector.observation_layout, vector.action_layout).to(device)

    def make_memory() -> Memory:
        return _make_memory(config, agent, vector, horizon, rounds, device)

    hyperparameters = hyperparameters_of(settings)
    engine, manner = borrow_engine(config, vector, device, plan, horizon, rounds, make_memory)
    if engine is not None:
        engine.begin(agent, hyperparameters, settings.seed)
        engine.learner.on_minibatch = on_heartbeat
        collector = engine.collector(vector, on_heartbeat)
        before = engine.capture_seconds
        return Parts(engine.memory, collector, engine.learner, batch_steps, engine, manner, before)
    memory = make_memory()
    paths = choose_paths(settings, memory.compute.agent, memory.distribution, vector)
    if paths.one_thread:
        torch.set_num_threads(1)
    plain_collector = paths.make_collector(
        vector,
        memory.compute.agent,
        memory.distribution,
        horizon=horizon,
        rounds=rounds,
        generator=memory.generator,
        on_step=on_heartbeat,
    )
    learner = Learner(
        memory.agent,
        memory.compute,
        memory.distribution,
        memory.optimizer,
        plan,
        generator=memory.generator,
        on_minibatch=on_heartbeat,
        backpropagate=paths.backpropagate,
    )
    return Parts(memory, plain_collector, learner, batch_steps, None, manner)


def _make_memory(
    config: Config, agent: Agent, vector: VectorEnv, horizon: int, rounds: int, device: torch.device
) -> Memory:
    settings = config.train
    distribution = make_distribution(vector.action_layout)
    hyperparameters = hyperparameters_of(settings)
    allocate = partial(
        RolloutBuffer.allocate,
        horizon,
        rounds * vector.num_agents,
        vector.observation_layout,
        distribution,
        offload=settings.cpu_offload,
        channels_last=device.type == "cpu" and getattr(agent.body, "prefers_channels_last", False),
    )
    state = agent.initial_state(1, device)
    if device.type == "cpu":
        refuse_what_does_not_fit(sum(buffer_bytes(allocate(state, torch.device("meta")))))
    return Memory(
        agent=agent,
        compute=make_compute(agent, settings.precision),
        distribution=distribution,
        optimizer=make_optimizer(config, agent),
        buffer=allocate(state, device),
        coefficients=Coefficients(
            *(torch.tensor(value, device=device) for value in hyperparameters.coefficients)
        ),
        generator=torch.Generator(device).manual_seed(settings.seed),
    )


def refuse_what_does_not_fit(wanted_bytes: int) -> None:
    """A batch that the host cannot hold: Linux promises any memory and kills whoever uses it.

    Raises:
        MemoryExhaustedError: less than that is free.
    """
    free = psutil.virtual_memory().available
    if wanted_bytes > free:
        gibibytes, free_gibibytes = (f"{amount / 2**30:.1f}" for amount in (wanted_bytes, free))
        raise MemoryExhaustedError(
            f"The machine has run out of memory: one batch takes {gibibytes} GiB, and {free_gibibytes} GiB are free.",
            on_device=False,
            remedy="Lower train.batch_size, train.bptt_horizon or vec.num_envs, or run fewer trials at once.",
        )


def hyperparameters_of(settings: TrainSection) -> Hyperparameters:
    """What the steps read from tensors."""
    return Hyperparameters(
        coefficients=(
            settings.gamma,
            settings.gae_lambda,
            settings.vtrace_rho_clip,
            settings.vtrace_c_clip,
            settings.clip_coef,
            settings.vf_coef,
            settings.vf_clip_coef,
            settings.ent_coef,
            settings.prio_alpha,
            settings.prio_beta0,
        ),
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_eps,
        max_grad_norm=settings.max_grad_norm,
    )


def _whole_number(setting: Any) -> int:
    """A setting that may be `auto` before the config is resolved."""
    assert isinstance(setting, int), "the config is resolved"
    return setting
