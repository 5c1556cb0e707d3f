"""One training run in the terminal: a few live lines, plain lines, or JSON lines."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.formatting import format_bytes, format_count, format_number, format_seconds
from sweeper.view.board import clock_text
from sweeper.view.screen import bar
from sweeper.view.sparkline import sparkline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sweeper.single_run import RunEnd
    from trainer.config import Config
    from trainer.records import Progress

_LINE_INTERVAL_SECONDS = 5.0
_PHASES = ("environment", "forward", "learn", "copy", "other")
_LABEL_WIDTH = len("time in")
_GAP = "   "
_LOSSES = ("policy", "value", "entropy", "kl", "clip_fraction", "explained_variance")


class LineRunView:
    """A timestamped line every few seconds."""

    def __init__(self, config: Config, stream: TextIO) -> None:
        self._config = config
        self._stream = stream
        self._said_at = 0.0

    def __enter__(self) -> Self:
        self._say(
            f"training {self._config.base.env_name} for {format_count(self._config.train.total_timesteps)} steps"
        )
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def on_progress(self, progress: Progress) -> None:
        """Says how far the run is."""
        now = time.monotonic()
        if now - self._said_at < _LINE_INTERVAL_SECONDS and progress.agent_steps < progress.total_agent_steps:
            return
        if not self._said_at and progress.backend:
            vec = self._config.vec
            chosen = ", the best for it here" if vec.backend == "auto" else ""
            self._say(f"{vec.num_envs} environments on {progress.backend}{chosen}")
        self._said_at = now
        self._say(
            f"{format_count(progress.agent_steps)} of {format_count(progress.total_agent_steps)} steps, "
            f"{format_count(progress.steps_per_second)} steps/s, score {format_number(progress.score)}"
        )

    def show_end(self, ended: RunEnd) -> None:
        """Score, folder and what comes next."""
        self._stream.write(end_text(ended))

    def _say(self, text: str) -> None:
        self._stream.write(f"{clock_text(time.time())}  {text}\n")
        self._stream.flush()


class JsonRunView:
    """One JSON object an epoch."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def on_progress(self, progress: Progress) -> None:
        """`progress`."""
        self._emit(
            event="progress",
            epoch=progress.epoch,
            agent_steps=progress.agent_steps,
            total_agent_steps=progress.total_agent_steps,
            uptime_seconds=progress.uptime_seconds,
            steps_per_second=progress.steps_per_second,
            score=progress.score,
            metrics=dict(progress.metrics),
            backend=progress.backend,
        )

    def show_end(self, ended: RunEnd) -> None:
        """`finished`."""
        result = ended.result
        self._emit(
            event="finished",
            status=result.status.value,
            score=ended.score,
            agent_steps=result.agent_steps,
            uptime_seconds=result.uptime_seconds,
            folder=str(ended.folder),
            checkpoint=None if result.checkpoint is None else str(result.checkpoint),
        )

    def _emit(self, **fields: Any) -> None:
        self._stream.write(json.dumps(fields) + "\n")
        self._stream.flush()


class ScreenRunView:
    """A few lines that are drawn anew as the run goes on."""

    def __init__(self, config: Config, console: Console) -> None:
        self._config = config
        self._console = console
        self._progress: Progress | None = None
        self._scores: list[float] = []
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def on_progress(self, progress: Progress) -> None:
        """Keeps what is to be drawn."""
        if progress.score is not None:
            self._scores.append(progress.score)
        self._progress = progress

    def show_end(self, ended: RunEnd) -> None:
        """Score, folder and what comes next."""
        self._console.print(end_text(ended), end="", soft_wrap=True)

    def _draw(self) -> RenderableType:
        width = self._console.width
        title = Text.assemble(("puffer-sweep  ", "color(208)"), (str(self._config.base.env_name), "bold"))
        progress = self._progress
        if progress is not None and progress.backend:
            title.append(f"  on {progress.backend}", style="dim")
        if progress is None:
            return Group(title, Text("making environments …", style="dim"))
        share = progress.agent_steps / progress.total_agent_steps
        left = (progress.total_agent_steps - progress.agent_steps) / max(progress.steps_per_second, 1e-9)
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True, min_width=_LABEL_WIDTH)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        room = max(1, width - _LABEL_WIDTH - 2)
        steps = f"{format_count(progress.agent_steps)} of {format_count(progress.total_agent_steps)}"
        grid.add_row("steps", Text.assemble(bar(share, max(3, min(40, width - 40))), f"  {steps}"))
        speed = f"{format_count(progress.steps_per_second)} steps/s"
        times = (format_seconds(progress.uptime_seconds), f"{format_seconds(left)} left")
        grid.add_row("speed", _lines((speed, *times), room))
        curve = sparkline(self._scores, max(1, min(60, width - 26)))
        last = self._scores[-1] if self._scores else None
        grid.add_row("score", Text.assemble((f"{format_number(last)}  ", "color(208)"), (curve, "color(68)")))
        grid.add_row("time in", _lines(_shares(progress), room))
        grid.add_row("uses", _lines(_usage(progress), room))
        grid.add_row("losses", _lines(_losses(progress), room))
        return Group(title, grid)


def _lines(parts: Iterable[str], width: int) -> str:
    """Parts side by side with gaps between them; one that does not fit into the width begins a new line."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(_GAP) + len(part) <= width:
            lines[-1] += _GAP + part
        else:
            lines.append(part)
    return "\n".join(lines)


def _shares(progress: Progress) -> list[str]:
    seconds = {phase: progress.metrics.get(f"seconds/{phase}", 0.0) for phase in _PHASES}
    total = sum(seconds.values())
    if total <= 0:
        return ["–"]
    return [f"{phase} {100 * spent / total:.0f} %" for phase, spent in seconds.items() if spent > 0]


def _usage(progress: Progress) -> list[str]:
    """Cores and memory of the host, and of the device where there is one."""
    metrics = progress.metrics
    parts = [f"{metrics.get('usage/processors', 0.0):.1f} cores"]
    if "usage/memory_bytes" in metrics:
        parts.append(f"{format_bytes(metrics['usage/memory_bytes'])} of memory")
    if "usage/device_share" in metrics:
        parts.append(f"GPU {100 * metrics['usage/device_share']:.0f} %")
    if "usage/device_memory_bytes" in metrics:
        parts.append(f"{format_bytes(metrics['usage/device_memory_bytes'])} on the GPU")
    return parts


def _losses(progress: Progress) -> list[str]:
    known = [(name, progress.metrics.get(f"losses/{name}")) for name in _LOSSES]
    return [f"{name.replace('_', ' ')} {format_number(v, 3)}" for name, v in known if v is not None]


def end_text(ended: RunEnd) -> str:
    """The last lines of a run."""
    result = ended.result
    words = {"completed": "Trained", "paused": "Interrupted after", "stopped": "Stopped after"}[
        result.status.value
    ]
    lines = [
        "",
        (
            f"{words} {format_count(result.agent_steps)} steps in {format_seconds(result.uptime_seconds)}; "
            f"score {format_number(ended.score)} over the last tenth."
        ),
        "",
        f"folder   {ended.folder}",
        "",
        "Next:",
    ]
    if result.status.value == "completed":
        lines.append(f"  puffer-sweep eval {ended.folder}")
    else:
        lines.append(f"  puffer-sweep train {ended.folder / 'config.ini'} -o {ended.folder} --resume")
    return "\n".join(lines) + "\n"
