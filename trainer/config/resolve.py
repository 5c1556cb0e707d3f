"""Settles `auto` and checks what must divide what: one pure function.

A violation carries its arithmetic and the nearest values. Only `minibatch_size` and `max_minibatch_size`
are lowered by themselves, and only where the user has left them at their defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.config.origin import DEFAULT
from trainer.errors import DeviceError, InfeasibleConfigError, Place

if TYPE_CHECKING:
    from trainer.config.model import Config
    from trainer.records import EnvironmentFacts


_VECTOR_RULES = {
    "vec.num_workers": "Every worker has the same number of environments.",
    "vec.batch_size": "Environments are stepped in equal shares of batch_size.",
}


@dataclass(frozen=True, slots=True)
class Resolution:
    """A config without any `auto`, and what was decided on the way.

    Attributes:
        config: resolved.
        notes: sentences for people: what `auto` became, what was lowered, warnings.
    """

    config: Config
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Settlement:
    """What has been settled so far."""

    config: Config
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def settle(self, name: str, value: Any, note: str | None = None) -> None:
        if value != self.config.get(name):
            self.values[name] = value
            if note is not None:
                self.notes.append(note)

    def is_default(self, name: str) -> bool:
        return self.config.origin(name).kind == DEFAULT

    def refuse(self, name: str, what: str, *, rule: str, remedy: str) -> InfeasibleConfigError:
        place = self.config.origin(name).place or Place()
        section, _, key = name.rpartition(".")
        return InfeasibleConfigError(
            what, place=Place(place.file, place.line, section, key), rule=rule, remedy=remedy
        )


def resolve(config: Config, facts: EnvironmentFacts, cuda_available: bool) -> Resolution:  # noqa: FBT001
    """Settle every `auto` and check that all sizes fit together. Pure: the same in, the same out.

    Args:
        config: any config; a resolved one comes back as it is.
        facts: agents per environment and what the backend can do.
        cuda_available: whether PyTorch sees a CUDA device.

    Raises:
        InfeasibleConfigError: sizes that do not fit, with the arithmetic and the nearest valid values.
        DeviceError: CUDA is asked for and not there.
    """
    settlement = _Settlement(config)
    _settle_device(settlement, cuda_available=cuda_available)
    _settle_precision(settlement, facts)
    _settle_vector(settlement, facts)
    agents = config.vec.num_envs * facts.agents_per_env
    batch_size, horizon = _settle_batch(settlement, agents, facts)
    _settle_minibatch(settlement, batch_size, horizon)
    if config.train.total_timesteps < batch_size:
        settlement.settle(
            "train.total_timesteps",
            batch_size,
            f"total_timesteps ({config.train.total_timesteps}) is below one batch: {batch_size} are run.",
        )
    if not settlement.values:
        return Resolution(config, tuple(settlement.notes))
    return Resolution(config.override(settlement.values, origin="resolved"), tuple(settlement.notes))


def _settle_device(settlement: _Settlement, *, cuda_available: bool) -> None:
    device = settlement.config.train.device
    if device == "auto":
        chosen = "cuda" if cuda_available else "cpu"
        reason = "" if cuda_available else ", because PyTorch sees no CUDA device"
        settlement.settle("train.device", chosen, f"device is {chosen}{reason}.")
    elif device != "cpu" and not cuda_available:
        raise DeviceError(
            "CUDA is asked for and PyTorch sees no CUDA device",
            place=settlement.config.origin("train.device").place or Place(section="train", key="device"),
            value=device,
            remedy="Set train.device to auto or cpu.",
        )


def _settle_precision(settlement: _Settlement, facts: EnvironmentFacts) -> None:
    """bfloat16 only where golden curves show that learning does not suffer, and where it is quicker."""
    train, policy = settlement.config.train, settlement.config.base.policy_name
    if train.precision != "auto":
        return
    device = settlement.values.get("train.device", train.device)
    is_quick = facts.native_bfloat16 and device == "cpu" and policy == "Convolutional"
    chosen = "bfloat16" if is_quick else "float32"
    settlement.settle("train.precision", chosen, f"precision is {chosen}.")


def _settle_vector(settlement: _Settlement, facts: EnvironmentFacts) -> None:
    vec = settlement.config.vec
    if vec.backend == "auto":
        settlement.settle("vec.backend", facts.backend, f"backend is {facts.backend}.")
    num_workers = vec.num_envs if vec.num_workers == "auto" else vec.num_workers
    settlement.settle("vec.num_workers", num_workers)
    if vec.batch_size == "auto":
        half = facts.can_step_half and vec.num_envs % 2 == 0
        batch_size = vec.num_envs // 2 if half else vec.num_envs
    else:
        batch_size = vec.batch_size
    settlement.settle("vec.batch_size", batch_size)
    for name, divisor in (("vec.num_workers", num_workers), ("vec.batch_size", batch_size)):
        if vec.num_envs % divisor:
            key = name.partition(".")[2]
            raise settlement.refuse(
                name,
                f"num_envs ({vec.num_envs}) is not a multiple of {key} ({divisor}): "
                f"{vec.num_envs} = {vec.num_envs // divisor} x {divisor} + {vec.num_envs % divisor}",
                rule=_VECTOR_RULES[name],
                remedy=f"Nearest {key}: {_either(nearest_divisors(vec.num_envs, divisor))}; "
                f"nearest num_envs: {_either(nearest_multiples(vec.num_envs, divisor))}.",
            )


def _settle_batch(settlement: _Settlement, agents: int, facts: EnvironmentFacts) -> tuple[int, int]:
    train = settlement.config.train
    told = f"{settlement.config.vec.num_envs} x {facts.agents_per_env}"
    if train.batch_size == "auto" and train.bptt_horizon == "auto":
        raise settlement.refuse(
            "train.batch_size",
            "batch_size and bptt_horizon are both auto",
            rule="Each is worked out from the other: batch_size = agents x bptt_horizon.",
            remedy="Give one of them, for example bptt_horizon = 64.",
        )
    if train.bptt_horizon == "auto":
        assert train.batch_size != "auto"
        batch_size = train.batch_size
        if batch_size < agents or batch_size % agents:
            raise settlement.refuse(
                "train.batch_size",
                f"bptt_horizon = auto is batch_size / agents = {batch_size} / {agents}, no whole number",
                rule=f"batch_size must be a multiple of the {agents} agents ({told}).",
                remedy=f"Nearest batch_size: {_either(nearest_multiples(batch_size, agents))}.",
            )
        horizon = batch_size // agents
        settlement.settle(
            "train.bptt_horizon", horizon, f"bptt_horizon is {batch_size} / {agents} = {horizon}."
        )
        return batch_size, horizon
    horizon = train.bptt_horizon
    if train.batch_size == "auto":
        batch_size = agents * horizon
        settlement.settle(
            "train.batch_size", batch_size, f"batch_size is {agents} x {horizon} = {batch_size}."
        )
        return batch_size, horizon
    batch_size = train.batch_size
    segments = batch_size // horizon
    if agents > segments:
        raise settlement.refuse(
            "train.batch_size",
            f"{agents} agents ({told}) need {agents} segments, "
            f"and batch_size / bptt_horizon = {batch_size} / {horizon} gives {segments}",
            rule="agents must be at most batch_size / bptt_horizon.",
            remedy=f"Raise batch_size to {agents * horizon}, "
            f"lower bptt_horizon to {max(1, batch_size // agents)}, "
            f"or lower num_envs to {max(1, segments // facts.agents_per_env)}.",
        )
    if batch_size % horizon:
        raise settlement.refuse(
            "train.batch_size",
            f"batch_size ({batch_size}) is not a multiple of bptt_horizon ({horizon}): "
            f"{batch_size} = {segments} x {horizon} + {batch_size % horizon}",
            rule="A batch is made of whole segments.",
            remedy=f"Nearest batch_size: {_either(nearest_multiples(batch_size, horizon))}.",
        )
    return batch_size, horizon


def _settle_minibatch(settlement: _Settlement, batch_size: int, horizon: int) -> None:
    train = settlement.config.train
    minibatch = train.minibatch_size
    if train.num_minibatches is not None:
        minibatch = _split_batch(settlement, train.num_minibatches, batch_size, horizon)
    elif (minibatch > batch_size or minibatch % horizon) and settlement.is_default("train.minibatch_size"):
        lowered = min(minibatch, batch_size) // horizon * horizon or horizon
        settlement.settle(
            "train.minibatch_size",
            lowered,
            f"minibatch_size is lowered from its default {minibatch} to {lowered}.",
        )
        minibatch = lowered
    if minibatch > batch_size:
        raise settlement.refuse(
            "train.minibatch_size",
            f"minibatch_size ({minibatch}) is larger than batch_size ({batch_size})",
            rule="A minibatch is a part of the batch.",
            remedy=f"Set minibatch_size to at most {batch_size}, or raise batch_size to {minibatch}.",
        )
    if minibatch % horizon:
        raise settlement.refuse(
            "train.minibatch_size",
            f"minibatch_size ({minibatch}) is not a multiple of bptt_horizon ({horizon}): "
            f"{minibatch} = {minibatch // horizon} x {horizon} + {minibatch % horizon}",
            rule="A minibatch is made of whole segments.",
            remedy="Nearest minibatch_size: "
            f"{_either(nearest_multiples(minibatch, horizon, at_most=batch_size))}.",
        )
    _settle_accumulation(settlement, minibatch, horizon)


def _split_batch(settlement: _Settlement, parts: int, batch_size: int, horizon: int) -> int:
    segments = batch_size // horizon
    if segments % parts:
        raise settlement.refuse(
            "train.num_minibatches",
            f"{segments} segments ({batch_size} / {horizon}) do not divide into {parts} minibatches: "
            f"{segments} = {segments // parts} x {parts} + {segments % parts}",
            rule="Minibatches are equal and made of whole segments.",
            remedy=f"Nearest num_minibatches: {_either(nearest_divisors(segments, parts))}.",
        )
    size = batch_size // parts
    settlement.settle("train.minibatch_size", size, f"minibatch_size is {batch_size} / {parts} = {size}.")
    return size


def _settle_accumulation(settlement: _Settlement, minibatch: int, horizon: int) -> None:
    limit = settlement.config.train.max_minibatch_size
    if minibatch <= limit or (minibatch % limit == 0 and limit % horizon == 0):
        return
    if settlement.is_default("train.max_minibatch_size"):
        segments = minibatch // horizon
        lowered = horizon * max(d for d in divisors(segments) if d * horizon <= max(limit, horizon))
        settlement.settle(
            "train.max_minibatch_size",
            lowered,
            f"max_minibatch_size is lowered from its default {limit} to {lowered}, "
            f"of which minibatch_size ({minibatch}) is a multiple.",
        )
        return
    valid = [horizon * divisor for divisor in divisors(minibatch // horizon)]
    nearest = sorted(sorted(valid, key=lambda value: (abs(value - limit), value))[:2])
    if minibatch % limit:
        what = (
            f"minibatch_size ({minibatch}) is above max_minibatch_size ({limit}) and not a multiple of it: "
            f"{minibatch} = {minibatch // limit} x {limit} + {minibatch % limit}"
        )
    else:
        what = (
            f"max_minibatch_size ({limit}) is below minibatch_size ({minibatch}) and not a multiple of "
            f"bptt_horizon ({horizon})"
        )
    raise settlement.refuse(
        "train.max_minibatch_size",
        what,
        rule="A larger minibatch is learnt in parts of max_minibatch_size, each of whole segments.",
        remedy=f"Nearest max_minibatch_size: {_either(nearest)}.",
    )


def nearest_multiples(value: int, of: int, *, at_most: int | None = None) -> list[int]:
    """The multiples of `of` next to `value` on both sides, at least `of`, at most `at_most`."""
    below, above = value // of * of, -(-value // of) * of
    found = {max(below, of), max(above, of)}
    if at_most is not None and at_most >= of:
        found = {min(candidate, at_most // of * of) for candidate in found}
    return sorted(found)


def nearest_divisors(of: int, value: int) -> list[int]:
    """The divisors of `of` next to `value` on both sides."""
    every = divisors(of)
    below = [divisor for divisor in every if divisor <= value]
    above = [divisor for divisor in every if divisor >= value]
    return sorted({*below[-1:], *above[:1]})


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [candidate for candidate in range(1, int(number**0.5) + 1) if number % candidate == 0]
    return sorted({*small, *(number // divisor for divisor in small)})


def _either(values: list[int]) -> str:
    return " or ".join(str(value) for value in values)
