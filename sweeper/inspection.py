"""What `puffer-sweep check` finds out about a config: pure functions over the config and what the environment says."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.config import Config, Resolution, resolve
from trainer.config.nearest import suggest
from trainer.config.sections import SECTION_ORDER
from trainer.errors import ConfigError, DeviceError, InfeasibleConfigError, PufferError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeper.parameter import Parameter
    from sweeper.records import Value
    from sweeper.space import SearchSpace
    from trainer.records import EnvironmentFacts

NUM_SAMPLES = 1000
NUM_BINS = 20
NEARLY_ALL = 0.98
"""A larger share of samples that do not fit means a space in which a search cannot work."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting of the resolved config.

    Attributes:
        name: full name.
        value: resolved.
        default: the schema's; None for free sections.
        differs: whether it is another value than the default (always in free sections).
        origin: `default`, `file.ini:12`, `command line` …; for values that were auto, what they were.
    """

    name: str
    value: Any
    default: Any
    differs: bool
    origin: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the samples of one parameter cover.

    Attributes:
        name: full name.
        values: of the samples, in drawing order.
        counts: samples per bin (equal widths between the bounds on the axis that is searched), or per choice.
        quantiles: lowest, 5 %, median, 95 % and highest; empty for categorical parameters.
    """

    name: str
    values: tuple[Value, ...]
    counts: tuple[int, ...]
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Feasibility:
    """How many samples fit together.

    Attributes:
        drawn, resolved: samples, and those that resolve.
        reasons: why the others do not, the most frequent first: (number of samples, one of their messages).
    """

    drawn: int
    resolved: int
    reasons: tuple[tuple[int, str], ...]

    @property
    def share(self) -> float:
        """Share of samples that resolve."""
        return self.resolved / self.drawn if self.drawn else 1.0


def setting_rows(config: Config, resolution: Resolution | None) -> list[SettingRow]:
    """Every setting but the swept parameters, resolved where that is possible."""
    from trainer.config import schema

    final = (config if resolution is None else resolution.config).values_by_name()
    written = config.values_by_name()
    rows = []
    for name, value in final.items():
        if name.startswith("sweep.") and name.count(".") > 1:
            continue
        entry = schema.entries().get(name)
        default = None if entry is None else entry.default
        origin = str(config.origin(name))
        if written.get(name) != value:
            origin = f"{origin}, was {written.get(name)}"
        differs = entry is None or written.get(name) != default
        rows.append(SettingRow(name, value, default, differs, origin))
    return sorted(rows, key=lambda row: SECTION_ORDER.index(row.name.partition(".")[0]))


def draw_samples(space: SearchSpace, seed: int, count: int = NUM_SAMPLES) -> list[dict[str, Value]]:
    """Points drawn uniformly in n over the whole space, as the method Random draws them."""
    generator = np.random.default_rng(seed)
    units = generator.random((count, len(space.parameters)))
    return [
        {
            parameter.name: parameter.from_unit(float(z))
            for parameter, z in zip(space.parameters, row, strict=True)
        }
        for row in units
    ]


def coverage(space: SearchSpace, samples: Sequence[Mapping[str, Value]]) -> list[Coverage]:
    """What the samples cover, parameter by parameter."""
    return [
        _cover(parameter, [sample[parameter.name] for sample in samples]) for parameter in space.parameters
    ]


def _cover(parameter: Parameter, values: list[Value]) -> Coverage:
    if parameter.is_categorical:
        # True and 1 may both be choices, and are equal.
        counted = Counter(repr(value) for value in values)
        counts = tuple(counted[repr(choice)] for choice in parameter.choices)
        return Coverage(parameter.name, tuple(values), counts, ())
    numbers = np.array([float(value) for value in values], dtype=np.float64)
    # On the axis on which the parameter is searched: a learning rate's decades are equally wide.
    places = np.array([parameter.to_unit(value) for value in values], dtype=np.float64)
    few = (
        parameter.num_values
        if parameter.num_values is not None and parameter.num_values <= NUM_BINS
        else None
    )
    margin = 0.5 / (few - 1) if few is not None and few > 1 else 0.0
    binned, _ = np.histogram(places, bins=few or NUM_BINS, range=(-margin, 1.0 + margin))
    quantiles = np.quantile(numbers, [0.0, 0.05, 0.5, 0.95, 1.0], method="nearest")
    return Coverage(parameter.name, tuple(values), tuple(map(int, binned)), tuple(map(float, quantiles)))


def feasibility(
    config: Config, facts: EnvironmentFacts, samples: Sequence[Mapping[str, Value]], *, cuda_available: bool
) -> Feasibility:
    """Which samples fit together, and why the others do not."""
    known: dict[tuple[tuple[str, Value], ...], str | None] = {}
    reasons: list[str] = []
    for sample in samples:
        # Most parameters have no part in what must divide what: few combinations need to be resolved.
        sized = {name: value for name, value in sample.items() if _has_part_in_sizes(name)}
        key = tuple(sized.items())
        if key not in known:
            known[key] = _reason(config, facts, sized, cuda_available=cuda_available)
        reason = known[key]
        if reason is not None:
            reasons.append(reason)
    counted: dict[str, list[str]] = {}
    for reason in reasons:
        counted.setdefault(_kind_of(reason), []).append(reason)
    ordered = sorted(counted.values(), key=len, reverse=True)
    return Feasibility(
        len(samples), len(samples) - len(reasons), tuple((len(group), group[0]) for group in ordered)
    )


def _has_part_in_sizes(name: str) -> bool:
    section, _, key = name.partition(".")
    return section == "vec" or (
        section == "train" and ("size" in key or "horizon" in key or "minibatch" in key)
    )


def _reason(
    config: Config, facts: EnvironmentFacts, values: Mapping[str, Value], *, cuda_available: bool
) -> str | None:
    try:
        resolve(config.override(values, origin="sweep"), facts, cuda_available)
    except (InfeasibleConfigError, ConfigError) as error:
        return error.paragraph()
    except DeviceError:
        return None  # true of every sample alike, and told once about the config itself
    return None


def _kind_of(message: str) -> str:
    return "".join(character for character in message if not character.isdigit())


def idle_parameters(config: Config, facts: EnvironmentFacts | None) -> list[str]:
    """Sentences on swept parameters that change nothing, or that nothing knows.

    Args:
        config: as written.
        facts: of the environment; None where it was not made.
    """
    swept = set(config.sweep.parameters)
    told = [
        sentence for name in config.sweep.parameters if (sentence := _idle(config, name, swept)) is not None
    ]
    keys = None if facts is None else facts.env_keys
    if keys is not None:
        for name in config.sweep.parameters:
            section, _, key = name.partition(".")
            if section == "env" and key not in keys:
                hint = suggest(key, keys)
                told.append(
                    f"{name} is swept, and the environment has no such setting.{f' {hint}' if hint else ''}"
                )
    return told


def _idle(config: Config, name: str, swept: set[str]) -> str | None:
    train = config.train

    def fixed(other: str) -> bool:
        return f"train.{other}" not in swept

    conditions = {
        "train.min_lr_ratio": (not train.anneal_lr and fixed("anneal_lr"), "anneal_lr is False"),
        "train.prio_beta0": (train.prio_alpha == 0 and fixed("prio_alpha"), "prio_alpha is 0"),
        "train.compile_mode": (not train.compile and fixed("compile"), "compile is False"),
        "train.compile_fullgraph": (not train.compile and fixed("compile"), "compile is False"),
        "train.minibatch_size": (
            train.num_minibatches is not None or not fixed("num_minibatches"),
            "num_minibatches settles it",
        ),
    }
    idle, reason = conditions.get(name, (False, ""))
    if name.startswith("rnn.") and config.base.rnn_name is None:
        idle, reason = True, "base.rnn_name is None"
    if idle:
        return f"{name} is swept and does nothing: {reason}."
    if name in ("train.seed", "vec.seed"):
        return f"{name} is swept: differences between seeds are noise, which confirm measures."
    if name in (
        "train.checkpoint_interval",
        "vec.zero_copy",
        "vec.timeout_seconds",
        "train.torch_deterministic",
    ):
        return f"{name} is swept and has no part in what is learnt."
    return None


def method_problem(config: Config, space: SearchSpace) -> PufferError | None:
    """What keeps `[sweep] method` or `pruner` from working on this space; None when they do."""
    from sweeper.methods.registry import make_method

    try:
        make_method(config, space, config.sweep.seed)
    except PufferError as error:
        return error
    return None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a short real run says of the whole.

    Attributes:
        steps_per_second: agent steps, the median of the epochs after the first.
        start_seconds: from the call to the end of the first epoch.
        memory_bytes: largest resident memory of the process.
        device_memory_bytes: largest allocation on the device; None on a CPU.
        measured_steps, measured_epochs: what was run.
        trial_seconds: for one trial of full length.
        num_slots: trials side by side on this machine.
        sweep_seconds: for max_runs trials of full length; pruning makes it less.
    """

    steps_per_second: float
    start_seconds: float
    memory_bytes: int
    device_memory_bytes: int | None
    measured_steps: int
    measured_epochs: int
    trial_seconds: float
    num_slots: int
    sweep_seconds: float


def estimate_sweep_seconds(trial_seconds: float, max_runs: int, num_slots: int) -> float:
    """Time of so many trials in so many slots, none of them stopped early."""
    return math.ceil(max_runs / max(1, num_slots)) * trial_seconds
