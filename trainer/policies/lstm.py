"""`LSTMWrapper`: memory between a policy's encoder and its head."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from trainer.errors import InfeasibleConfigError, Place
from trainer.policies.base import Agent, Body, State


class LSTMWrapper(Agent):
    """One LSTM layer between `encode_observations` and `decode_actions` (Hochreiter and Schmidhuber, 1997).

    In training the gradient flows through the whole segment, except across the beginnings of episodes.

    Args:
        body: the policy; its hidden_size must be both sizes, since the LSTM stands between its two halves.
        input_size, hidden_size: as `[rnn]` has them; None takes the policy's.
    """

    def __init__(
        self, body: nn.Module, *, input_size: int | None = None, hidden_size: int | None = None
    ) -> None:
        super().__init__()
        width = cast("Body", body).hidden_size
        for key, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size not in (None, width):
                raise InfeasibleConfigError(
                    "The LSTM does not fit between the policy's two halves.",
                    place=Place(section="rnn", key=key),
                    value=size,
                    rule=f"It must be the policy's width, {width}.",
                )
        self.body = body
        self.hidden_size = width
        self.cell = nn.LSTMCell(width, width)
        for weight in (self.cell.weight_ih, self.cell.weight_hh):
            nn.init.orthogonal_(weight)
        for bias in (self.cell.bias_ih, self.cell.bias_hh):
            nn.init.zeros_(bias)

    def initial_state(self, num_rows: int, device: torch.device) -> State:
        """Zeros: hidden and cell state, (B, hidden_size) each."""
        zeros = torch.zeros(num_rows, self.hidden_size, device=device)
        return zeros, zeros.clone()

    def step(self, observations: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor, State]:
        """One step of B rows."""
        body = cast("Body", self.body)
        encoded = body.encode_observations(observations)
        hidden, cell = self.cell(encoded, (state[0].to(encoded.dtype), state[1].to(encoded.dtype)))
        scores, values = body.decode_actions(hidden)
        return scores, values, (hidden, cell)

    def forward(
        self, observations: torch.Tensor, state: State, resets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole segments: encoder and head on all steps at once, the LSTM from step to step."""
        body = cast("Body", self.body)
        steps, segments = observations.shape[:2]
        encoded = body.encode_observations(observations.flatten(0, 1)).view(steps, segments, -1)
        going_on = (~resets).to(encoded.dtype).unsqueeze(-1)
        hidden, cell = state[0].to(encoded.dtype), state[1].to(encoded.dtype)
        outputs = []
        for step in range(steps):
            hidden, cell = self.cell(encoded[step], (hidden * going_on[step], cell * going_on[step]))
            outputs.append(hidden)
        scores, values = body.decode_actions(torch.cat(outputs))
        return scores.view(steps, segments, -1), values.view(steps, segments)
