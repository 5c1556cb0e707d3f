"""In which number format an agent computes; its own weights stay float32 in any case.

`float32` runs the agent itself. `bfloat16` runs a copy whose weights are cast once per rollout and once per
gradient step, which is quicker than autocast's casting at every call. A body that does not promise to take
its weights' format (`casts_inputs`) runs under autocast instead, in a `with` block around each call: a
context that stays open would keep serving the weights of its first call.
"""

from __future__ import annotations

import copy

import torch

from trainer.policies.base import Agent, State


class Compute:
    """Runs an agent as it is.

    Attributes:
        agent: what computes; `refresh` brings it up to date with the weights that are learnt.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def refresh(self) -> None:
        """Take over the newest weights."""

    def return_gradients(self) -> None:
        """Hand the gradients of the last backward pass to the weights that are learnt."""


class CastCompute(Compute):
    """Runs a copy of the agent in a smaller format.

    Args:
        master: the agent that is learnt, float32.
        dtype: of the copy. Modules that are marked `float32_only` (the head) stay as they are: their cost is
            small and values need more than eight bits.
    """

    def __init__(self, master: Agent, dtype: torch.dtype) -> None:
        super().__init__(copy.deepcopy(master))
        kept = {
            id(parameter)
            for module in self.agent.modules()
            if getattr(module, "float32_only", False)
            for parameter in module.parameters()
        }
        for parameter in self.agent.parameters():
            if id(parameter) not in kept and parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
        self._pairs = list(zip(master.parameters(), self.agent.parameters(), strict=True))
        self._buffers = list(zip(master.buffers(), self.agent.buffers(), strict=True))

    @torch.no_grad()
    def refresh(self) -> None:
        """Cast the weights anew."""
        for learnt, used in self._pairs + self._buffers:
            used.copy_(learnt)

    def return_gradients(self) -> None:
        """Widen the copy's gradients and forget them there."""
        for learnt, used in self._pairs:
            if used.grad is not None:
                widened = used.grad.to(learnt.dtype)
                # Several pieces of a minibatch add up in float32, where small ones are not lost.
                learnt.grad = widened if learnt.grad is None else learnt.grad + widened
                used.grad = None


class AutocastAgent(Agent):
    """Runs another agent under autocast."""

    def __init__(self, inner: Agent, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = inner
        self.body = inner.body
        self.dtype = dtype

    def initial_state(self, num_rows: int, device: torch.device) -> State:
        """As the inner agent's."""
        return self.inner.initial_state(num_rows, device)

    def step(self, observations: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor, State]:
        """One step of B rows."""
        with torch.autocast(observations.device.type, self.dtype, cache_enabled=False):
            scores, values, after = self.inner.step(observations, state)
        return scores.float(), values.float(), tuple(part.float() for part in after)

    def forward(
        self, observations: torch.Tensor, state: State, resets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole segments."""
        with torch.autocast(observations.device.type, self.dtype, cache_enabled=False):
            scores, values = self.inner(observations, state, resets)
        return scores.float(), values.float()


def make_compute(agent: Agent, precision: str) -> Compute:
    """What runs an agent in `float32` or `bfloat16`."""
    if precision == "float32":
        return Compute(agent)
    if getattr(agent.body, "casts_inputs", False):
        return CastCompute(agent, torch.bfloat16)
    return Compute(AutocastAgent(agent, torch.bfloat16))
