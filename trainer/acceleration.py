"""How the networks run: as they are, by hand (small perceptrons on the CPU), or through torch.compile.

What is compiled takes everything that changes as arguments, hyperparameters as tensors among them, and is
compiled once a process, mode and set of shapes: a warm worker's next trial finds it ready.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from trainer.errors import InfeasibleConfigError, Place
from trainer.policies.perceptron import Perceptron
from trainer.ppo.by_hand import backpropagate_by_hand
from trainer.ppo.deferred_rollout import DeferringCollector
from trainer.ppo.rollout import Collector, act
from trainer.ppo.update import backpropagate_piece, backpropagate_through, piece_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.config import TrainSection
    from trainer.policies import ActionDistribution, Agent
    from trainer.policies.sampling import DiscreteActions
    from trainer.vector.base import VectorEnv


MAX_SHAPES = 256
"""Sets of shapes that one process compiles for: a sweep over widths and minibatch sizes needs one each, and
torch.compile gives up after eight unless it is told otherwise."""


@functools.cache
def _compiled(function: Callable[..., Any], mode: str, *, fullgraph: bool) -> Callable[..., Any]:
    compiled: Callable[..., Any] = torch.compile(function, mode=mode, fullgraph=fullgraph, dynamic=False)
    return compiled


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
