"""Brings the policy's actions to where environments on the host are stepped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.envs.layout import ActionLayout
    from trainer.envs.shard import Array


class ActionCarrier:
    """Brings the actions of one batch of rows to the host, again and again.

    From a GPU they come through pinned memory by a copy that the device makes when it has computed them. An event
    tells of its end: whoever steps the environments waits for the actions and for nothing that was queued after
    them, and sleeps meanwhile instead of taking a core from the environments.

    Args:
        layout: of one agent's action.
        num_rows: B.
    """

    def __init__(self, layout: ActionLayout, num_rows: int) -> None:
        self._shape = (num_rows, layout.width)
        self._is_continuous = layout.kind == "continuous"
        self._low, self._high = np.asarray(layout.low, np.float32), np.asarray(layout.high, np.float32)
        self._pinned: torch.Tensor | None = None
        self._arrived: torch.cuda.Event | None = None

    def fetch(self, actions: torch.Tensor) -> Array:
        """Actions as the shards take them, continuous ones clipped to their bounds. Waits for them.

        Args:
            actions: (B, width), on any device.

        Raises:
            ValueError: the wrong shape (a bug of ours).
        """
        if actions.is_cuda:
            return self.start(actions)()
        choices = actions.numpy()
        if choices.shape != self._shape:
            raise ValueError(f"actions of shape {choices.shape}, expected {self._shape}")
        return self._bounded(choices)

    def start(self, actions: torch.Tensor) -> Callable[[], Array]:
        """Begin to fetch: the function that waits for the actions, which any thread may call.

        The actions' own memory may be written to again as soon as this returns, in the device's order of work.
        What the function returns is valid until the next `start`.

        Raises:
            ValueError: the wrong shape (a bug of ours).
        """
        if not actions.is_cuda:
            own = self.fetch(actions).copy()
            return lambda: own
        if actions.shape != self._shape:
            raise ValueError(f"actions of shape {tuple(actions.shape)}, expected {self._shape}")
        if self._pinned is None or self._arrived is None:
            self._pinned = torch.empty(self._shape, dtype=actions.dtype, pin_memory=True)
            self._arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        pinned, arrived = self._pinned, self._arrived
        pinned.copy_(actions, non_blocking=True)
        arrived.record(torch.cuda.current_stream(actions.device))

        def arrive() -> Array:
            arrived.synchronize()
            return self._bounded(pinned.numpy())

        return arrive

    def _bounded(self, choices: Array) -> Array:
        if not self._is_continuous:
            return choices if choices.dtype == np.int64 else choices.astype(np.int64)
        return np.clip(choices, self._low, self._high).astype(np.float32, copy=False)
