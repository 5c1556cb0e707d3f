"""A short real run that tells how long a sweep would take: `puffer-sweep check --measure`."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import SweepError
from sweeper.inspection import Estimate, estimate_sweep_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.config import Config
    from trainer.records import Directive, Progress

MEASURE_SECONDS = 20.0
MIN_EPOCHS = 3
MAX_EPOCHS = 200


def measure(config: Config, num_slots: int, *, seconds: float = MEASURE_SECONDS) -> Estimate:
    """Train for a few epochs in a folder that is thrown away.

    Args:
        config: resolved.
        num_slots: trials side by side on this machine.
        seconds: of training, after the first epoch; at least MIN_EPOCHS epochs run however long they take.

    Raises:
        PufferError: the run fails.
    """
    import psutil

    from sweeper.trial import train_alone

    began = time.monotonic()
    meter = _Meter(began, seconds)
    with tempfile.TemporaryDirectory(prefix="puffer-sweep-check-") as folder:
        result = train_alone(config, meter.receive, folder=Path(folder))
    if not meter.speeds:
        raise SweepError("The short run has ended without a single epoch.")
    # The first epoch pays for imports, captures and warm caches.
    speeds = meter.speeds[1:] or meter.speeds
    steps_per_second = statistics.median(speeds)
    start_seconds = meter.first_epoch_seconds
    trial_seconds = start_seconds + config.train.total_timesteps / steps_per_second
    peak = result.facts.get("peak_memory_bytes")
    on_device = str(config.train.device) != "cpu" and isinstance(peak, int | float)
    return Estimate(
        steps_per_second=steps_per_second,
        start_seconds=start_seconds,
        memory_bytes=psutil.Process().memory_info().rss,
        device_memory_bytes=int(float(peak)) if on_device and peak is not None else None,
        measured_steps=result.agent_steps,
        measured_epochs=len(meter.speeds),
        trial_seconds=trial_seconds,
        num_slots=num_slots,
        sweep_seconds=estimate_sweep_seconds(trial_seconds, config.sweep.max_runs, num_slots),
    )


class _Meter:
    """Notes the speed of each epoch and ends the run when enough is known."""

    def __init__(self, began: float, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._began = began
        self._seconds = seconds
        self._clock = clock
        self.speeds: list[float] = []
        self.first_epoch_seconds = 0.0

    def receive(self, progress: Progress) -> Directive:
        """Called once an epoch."""
        from trainer.records import Directive

        now = self._clock()
        if not self.speeds:
            self.first_epoch_seconds = now - self._began
        self.speeds.append(progress.steps_per_second)
        measured = now - self._began - self.first_epoch_seconds
        enough = len(self.speeds) >= MIN_EPOCHS and measured >= self._seconds
        return Directive.STOP if enough or len(self.speeds) >= MAX_EPOCHS else Directive.CONTINUE
