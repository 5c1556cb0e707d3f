"""Rollouts of environments on the device, behind the interface of `trainer.ppo.rollout.Collector`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from trainer.ppo.rollout import PhaseSeconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.cuda.capture import Capture, Captured
    from trainer.cuda.rollout import DeviceRollout, EpisodeSums
    from trainer.ppo.buffer import RolloutBuffer
    from trainer.vector.base import VectorEnv


class DeviceCollector:
    """Fills a buffer by one replay, without waiting for the device.

    Args:
        rollout: on static memory.
        capture: makes it replayable, at its first use.
    """

    def __init__(self, rollout: DeviceRollout, capture: Capture) -> None:
        self.rollout = rollout
        self._capture = capture
        self._captured: Captured | None = None
        self._vector: VectorEnv | None = None
        self._on_step: Callable[[], None] = _nothing

    @property
    def captured(self) -> tuple[Captured, ...]:
        """The captured rollout; nothing before the first."""
        return () if self._captured is None else (self._captured,)

    def attach(self, vector: VectorEnv, on_step: Callable[[], None]) -> None:
        """Begin to serve a run."""
        self._vector = vector
        self._on_step = on_step

    def _attached(self) -> VectorEnv:
        if self._vector is None:
            raise RuntimeError("the collector serves no run")
        return self._vector

    def detach(self) -> None:
        """The run is over."""
        self._vector = None
        self._on_step = _nothing

    def begin(self, seed: int) -> None:
        """Begin all episodes anew."""
        self._attached().reset(seed)
        self.rollout.begin()

    def state_dict(self) -> dict[str, Any]:
        """Where every row stands between two rollouts, for a checkpoint."""
        return {"state": list(self.rollout.state), "resets": self.rollout.resets}

    def resume(
        self, seed: int, saved: Mapping[str, Any], vector_state: dict[str, torch.Tensor] | None
    ) -> None:
        """Go on from `state_dict` and the environments' state where there is one, else with new episodes."""
        self.begin(seed)
        if vector_state is None:
            return
        self._attached().load_state_dict(vector_state)
        self.rollout.begin()
        for kept, part in zip(self.rollout.state, saved["state"], strict=True):
            kept.copy_(part)
        self.rollout.resets.copy_(saved["resets"])

    def collect(self, buffer: RolloutBuffer) -> tuple[EpisodeSums, PhaseSeconds]:
        """Fill the buffer.

        Returns:
            The episodes that ended, and a clock that the device will set.
        """
        rollout = self.rollout
        if buffer is not rollout.buffer:
            raise ValueError("a captured rollout fills the buffer that it was made for")
        if self._captured is None:
            self._captured = self._capture("The rollout", rollout.run, rollout.tensors(), [rollout.generator])
        self._on_step()
        seconds = DeviceSeconds(rollout.env.device)
        self._captured.replay()
        seconds.stop()
        return rollout.episodes(), seconds


def _nothing() -> None:
    pass


class DeviceSeconds(PhaseSeconds):
    """How long the device worked on a rollout; counted as the environments' time, of which it is a part.

    Args:
        device: that works.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            self._events = start, end
            self._events[0].record()

    def stop(self) -> None:
        """The rollout has been handed to the device."""
        if self._events is not None:
            self._events[1].record()

    def settle(self) -> None:
        """After the device has been waited for."""
        if self._events is not None:
            self.environment = self._events[0].elapsed_time(self._events[1]) / 1000
