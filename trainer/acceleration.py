"""The two functions in which the networks run: as they are, by NumPy, or through torch.compile.

What is compiled takes everything that changes as arguments, hyperparameters as tensors among them, and is
compiled once a process, mode and set of shapes: a warm worker's next trial finds it ready.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch

from trainer.errors import InfeasibleConfigError, Place
from trainer.policies.numpy_actor import NumpyActor
from trainer.ppo.rollout import act
from trainer.ppo.update import backpropagate_piece, backpropagate_through, piece_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.config import TrainSection
    from trainer.policies import ActionDistribution, Agent
    from trainer.policies.sampling import DiscreteActions


MAX_SHAPES = 256
"""Sets of shapes that one process compiles for: a sweep over widths and minibatch sizes needs one each, and
torch.compile gives up after eight unless it is told otherwise."""


@functools.cache
def _compiled(function: Callable[..., Any], mode: str, *, fullgraph: bool) -> Callable[..., Any]:
    compiled: Callable[..., Any] = torch.compile(function, mode=mode, fullgraph=fullgraph, dynamic=False)
    return compiled


def hot_functions(
    settings: TrainSection, agent: Agent, distribution: ActionDistribution
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """How an agent acts and how its loss is backpropagated: the one place where the quick ways are chosen."""
    if not settings.compile:
        if NumpyActor.fits(agent, distribution):
            return NumpyActor(agent, cast("DiscreteActions", distribution)), backpropagate_piece
        return act, backpropagate_piece
    mode, fullgraph = settings.compile_mode, settings.compile_fullgraph
    compiled_loss = _compiled(piece_loss, mode, fullgraph=fullgraph)
    return _compiled(act, mode, fullgraph=fullgraph), backpropagate_through(compiled_loss)


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
