"""What `check` has found, as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from sweeper.formatting import format_bytes, format_number, format_seconds, format_share, format_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweeper.inspection import Coverage, Estimate, Feasibility, SettingRow
    from sweeper.parameter import Parameter
    from sweeper.space import SearchSpace
    from trainer.config import Config

_BARS = "▁▂▃▄▅▆▇█"
_MAX_REASONS = 5
_WHOLE_COLUMNS = ("setting", "parameter", "from bound to bound")
_ACCENT = "color(208)"


def config_table(rows: Sequence[SettingRow]) -> Table:
    """The resolved config; what differs from the default is marked."""
    table = _table("resolved config", ("", "setting", "value", "default", "from"))
    for row in rows:
        shown = format_setting(row.value)
        table.add_row(
            Text("•" if row.differs else "", style=_ACCENT),
            Text(row.name, style="" if row.differs else "dim"),
            Text(shown, style="bold" if row.differs else "dim"),
            Text("" if row.default is None or not row.differs else format_setting(row.default), style="dim"),
            Text(row.origin.rpartition("/")[2], style="dim", overflow="fold"),
        )
    return table


def space_table(config: Config, space: SearchSpace) -> Table:
    """The search space: distribution, bounds, centre and scale of each parameter."""
    table = _table("search space", ("parameter", "distribution", "from", "to", "centre", "scale"))
    for parameter in space.parameters:
        spec = config.sweep.parameters[parameter.name]
        low, high = _bounds(parameter)
        scale = "" if parameter.is_categorical else f"{spec.scale} = {format_number(parameter.scale)}"
        if isinstance(spec.scale, float):
            scale = format_number(parameter.scale)
        table.add_row(
            parameter.name, parameter.distribution_name, low, high, format_value(parameter.centre), scale
        )
    return table


def coverage_table(space: SearchSpace, found: Sequence[Coverage], num_samples: int) -> Table:
    """What the samples really cover, with a histogram on the axis on which each parameter is searched."""
    title = f"what {num_samples:,} samples cover"
    table = _table(title, ("parameter", "lowest", "median", "highest", "from bound to bound"))
    for cover in found:
        parameter = space[cover.name]
        if parameter.is_categorical:
            choices = "  ".join(
                f"{choice} {format_share(count / num_samples)}"
                for choice, count in zip(parameter.choices, cover.counts, strict=True)
            )
            table.add_row(cover.name, "", "", "", choices)
            continue
        lowest, _, median, _, highest = cover.quantiles
        numbers = [format_value(int(q) if parameter.integer else q) for q in (lowest, median, highest)]
        table.add_row(cover.name, *numbers, Text(histogram(cover.counts), style=_ACCENT))
    return table


def histogram(counts: Sequence[int]) -> str:
    """Counts as bars; an empty bin is a blank, the fullest is █."""
    most = max(counts, default=0)
    return "".join(" " if count == 0 else _BARS[round((len(_BARS) - 1) * count / most)] for count in counts)


def feasibility_lines(found: Feasibility) -> list[str]:
    """The share of samples that fit together, and why the others do not."""
    others = "" if found.resolved == found.drawn else "; the others are drawn again and never count as runs"
    lines = [f"{format_share(found.share)} of {found.drawn:,} samples resolve{others}."]
    for count, reason in found.reasons[:_MAX_REASONS]:
        lines.append(f"  {format_share(count / found.drawn)}: for example {reason}")
    return lines


def estimate_lines(found: Estimate, max_runs: int) -> list[str]:
    """What the short run has shown."""
    memory = format_bytes(found.memory_bytes)
    if found.device_memory_bytes is not None:
        memory += f", {format_bytes(found.device_memory_bytes)} on the device"
    slots = "one trial at a time" if found.num_slots == 1 else f"{found.num_slots} trials side by side"
    return [
        (
            f"{format_number(found.steps_per_second)} agent steps per second over {found.measured_epochs} epochs "
            f"({found.measured_steps:,} steps), {format_seconds(found.start_seconds)} to the end of the first."
        ),
        f"{memory} of memory.",
        (
            f"A trial of full length takes about {format_seconds(found.trial_seconds)}; {max_runs:,} runs, {slots}, "
            f"at most {format_seconds(found.sweep_seconds)} (pruning makes it less)."
        ),
    ]


def format_setting(value: Any) -> str:
    """A setting's value as it would stand in the INI."""
    from trainer.config.dump import setting_text

    return setting_text(value)


def _bounds(parameter: Parameter) -> tuple[str, str]:
    if parameter.is_categorical:
        return ", ".join(str(choice) for choice in parameter.choices), ""
    low, high = (
        (int(parameter.low), int(parameter.high)) if parameter.integer else (parameter.low, parameter.high)
    )
    return format_value(low), format_value(high)


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, header_style="dim", overflow="fold", no_wrap=head in _WHOLE_COLUMNS)
    return table
