"""How the networks run: as they are, by hand (small perceptrons on the CPU), or through torch.compile.

What is compiled takes everything that changes as arguments, hyperparameters as tensors among them, and is
compiled once a process, mode and set of shapes: a warm worker's next trial finds it ready.
"""

from __future__ import annotations

import dataclasses
import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from trainer.cuda.advantage import choose_advantages
from trainer.cuda.capture import GraphCapture
from trainer.cuda.engine import Engine, EngineCache, Ways
from trainer.cuda.update import differentiate_through
from trainer.errors import InfeasibleConfigError, Place
from trainer.policies.convolutional import Convolutional
from trainer.policies.perceptron import Perceptron
from trainer.policies.procgen_resnet import ProcgenResnet
from trainer.ppo.by_hand import backpropagate_by_hand
from trainer.ppo.deferred_rollout import DeferringCollector
from trainer.ppo.rollout import Collector, act
from trainer.ppo.side_by_side import act_side_by_side, backpropagate_side_by_side
from trainer.ppo.update import backpropagate_piece, backpropagate_through, piece_gradients, piece_loss
from trainer.team import Team

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.config import Config, TrainSection
    from trainer.cuda.engine import Memory
    from trainer.policies import ActionDistribution, Agent
    from trainer.policies.sampling import DiscreteActions
    from trainer.ppo.update import Plan
    from trainer.vector.base import VectorEnv


MAX_SHAPES = 256
"""Sets of shapes that one process compiles for: a sweep over widths and minibatch sizes needs one each, and
torch.compile gives up after eight unless it is told otherwise."""


@functools.cache
def _compiled(function: Callable[..., Any], mode: str, *, fullgraph: bool) -> Callable[..., Any]:
    compiled: Callable[..., Any] = torch.compile(function, mode=mode, fullgraph=fullgraph, dynamic=False)
    return compiled


DIVISIBLE = (Convolutional, ProcgenResnet)
"""Bodies that compute every row for itself and keep nothing, so that threads may share a batch."""

LEAST_ROWS_A_THREAD = 4
"""Fewer of them take less time than it takes to wake a thread."""


class HotPaths(NamedTuple):
    """How a run acts and learns.

    Attributes:
        make_collector: a `Collector`'s constructor, its `act_function` given.
        backpropagate: see `trainer.ppo.update.backpropagate_piece`.
        one_thread: the operations are so small that a second thread would cost more than it does.
    """

    make_collector: Callable[..., Collector]
    backpropagate: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    one_thread: bool = False


def choose_paths(
    settings: TrainSection, agent: Agent, distribution: ActionDistribution, vector: VectorEnv
) -> HotPaths:
    """The one place where the quick ways are chosen."""
    if settings.compile:
        mode, fullgraph = settings.compile_mode, settings.compile_fullgraph
        compiled_act = _compiled(act, mode, fullgraph=fullgraph)
        compiled_loss = _compiled(piece_loss, mode, fullgraph=fullgraph)
        return HotPaths(
            functools.partial(Collector, act_function=compiled_act), backpropagate_through(compiled_loss)
        )
    if Perceptron.fits(agent, distribution):
        perceptron = Perceptron(agent, cast("DiscreteActions", distribution))
        by_hand = backpropagate_by_hand(perceptron)
        if vector.batch_agents == vector.num_agents and vector.device.type == "cpu":
            deferring = functools.partial(
                DeferringCollector, make_chooser=perceptron.chooser, evaluate=perceptron.evaluate
            )
            return HotPaths(deferring, by_hand, one_thread=True)
        return HotPaths(functools.partial(Collector, act_function=perceptron.act), by_hand, one_thread=True)
    if vector.device.type == "cpu" and torch.get_num_threads() > 1 and type(agent.body) in DIVISIBLE:
        team = Team(torch.get_num_threads())
        in_shares = act_side_by_side(team, LEAST_ROWS_A_THREAD * team.size)
        return HotPaths(
            functools.partial(Collector, act_function=in_shares), backpropagate_side_by_side(team)
        )
    return HotPaths(Collector, backpropagate_piece)


@contextmanager
def compilation_faults_explained(settings: TrainSection) -> Iterator[None]:
    """Turn a failure to compile into one error that says what to do about it, and let every trial compile."""
    if not settings.compile:
        yield
        return
    from torch._dynamo import config as dynamo
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.exc import InductorError

    limits: dict[str, Any] = {"recompile_limit": MAX_SHAPES, "accumulated_recompile_limit": 4 * MAX_SHAPES}
    try:
        with dynamo.patch(limits):
            yield
    except (TorchDynamoException, InductorError, FailOnRecompileLimitHit) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InfeasibleConfigError(
            f"The policy cannot be compiled: {first_line}",
            place=Place(section="train", key="compile"),
            rule="torch.compile needs a C++ compiler on the CPU, and functions that it can follow.",
            remedy="Set train.compile to False, or train.compile_fullgraph where the graph breaks.",
        ) from error


GRAPHING_MODES = ("reduce-overhead", "max-autotune")
"""Modes in which torch.compile makes CUDA graphs of its own, which cannot stand inside ours."""

_engines = EngineCache()


def why_not_captured(settings: TrainSection, device: torch.device) -> str | None:
    """Why a run's steps are launched one by one instead of as CUDA graphs; None where they are captured."""
    if device.type != "cuda":
        return "there is no CUDA device"
    if settings.cpu_offload:
        return "with cpu_offload the host takes part in every minibatch"
    if settings.compile and settings.compile_mode in GRAPHING_MODES:
        return f"compile_mode = {settings.compile_mode} makes CUDA graphs of its own"
    return None


def borrow_engine(
    config: Config,
    vector: VectorEnv,
    device: torch.device,
    plan: Plan,
    horizon: int,
    rounds: int,
    make_memory: Callable[[], Memory],
) -> tuple[Engine | None, str]:
    """Static memory with captured steps for a run on CUDA, and a sentence on how it runs.

    One capture serves all runs that agree in what a graph fixes: a warm worker's next trial finds it ready.

    Raises:
        torch.OutOfMemoryError: the device cannot hold it, even without the engines that nobody uses.
    """
    settings = config.train
    reason = why_not_captured(settings, device)
    if reason is not None:
        return None, f"step by step: {reason}"
    advantages, sentence = choose_advantages(device)

    def make() -> Engine:
        ways = Ways(GraphCapture(device), act, piece_gradients, advantages)
        if settings.compile:
            compiled_act, compiled_loss = (
                _compiled(function, settings.compile_mode, fullgraph=settings.compile_fullgraph)
                for function in (act, piece_loss)
            )
            ways = Ways(ways.capture, compiled_act, differentiate_through(compiled_loss), advantages)
        return Engine(make_memory(), plan, horizon=horizon, rounds=rounds, ways=ways)

    key = (
        device,
        *(repr(section) for section in (config.base, config.policy, config.rnn)),
        repr(vector.observation_layout),
        repr(vector.action_layout),
        (vector.num_agents, vector.batch_agents, vector.backend, horizon, rounds),
        # The norm is a tensor of the captured step; the rest of the plan is built into it.
        dataclasses.replace(plan, max_grad_norm=0.0),
        (settings.precision, settings.optimizer, settings.tf32, settings.torch_deterministic),
        (settings.compile, settings.compile_mode, settings.compile_fullgraph),
    )
    return _engines.take(key, make), f"CUDA graphs; {sentence}"


def give_engine_back(engine: Engine, *, broken: bool) -> None:
    """A run is over; what it leaves broken is not used again."""
    _engines.give_back(engine, broken=broken)
