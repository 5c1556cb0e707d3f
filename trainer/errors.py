"""Every error a user can meet, as one tree.

PufferError                     one paragraph for a person: what, where, value, rule, remedy
├── ConfigError                 a file, section, key or value is wrong
│   ├── ConfigFileError         the file cannot be read or parsed at all
│   ├── UnknownNameError        a section, key or option that nothing knows (names the nearest)
│   ├── DialectError            another dialect's setting without a counterpart here
│   └── InfeasibleConfigError   values that are fine one by one and do not fit together
├── MissingExtraError           an optional package is not installed (names the extra)
├── DeviceError                 the device that was asked for is not there
├── EnvironmentMakeError        an environment cannot be made from its settings
└── TrainingError               a run that had started has ended badly; carries a `failure_kind`
    ├── EnvironmentFault        an environment raised, hung, died or returned nonsense
    ├── NotFiniteError          a loss, weight or observation is NaN or infinite
    ├── MemoryExhaustedError    out of host or device memory
    └── CheckpointError         a checkpoint is truncated, foreign or does not fit

Anything else that is raised is a bug of ours and deserves its traceback.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """Why a run ended badly. The sweep decides by this kind whether trying again can help."""

    CRASH = "crash"
    ENVIRONMENT = "environment"
    NOT_FINITE = "not_finite"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_DEVICE_MEMORY = "out_of_device_memory"
    CHECKPOINT = "checkpoint"
    CONFIG = "config"
    TIMEOUT = "timeout"
    HANG = "hang"
    WORKER_LOST = "worker_lost"


HANG_EXIT_STATUS = 70
"""Of a process that ends itself because an environment hangs in native code; stderr says which and where."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value came from: any part may be unknown."""

    file: str | None = None
    line: int | None = None
    section: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        parts = []
        if self.file is not None:
            parts.append(self.file if self.line is None else f"{self.file}, line {self.line}")
        if self.section is not None:
            parts.append(f"[{self.section}]" if self.key is None else f"[{self.section}] {self.key}")
        elif self.key is not None:
            parts.append(self.key)
        return ", ".join(parts)


class PufferError(Exception):
    """A mistake or a mishap that a person can act on.

    Args:
        what: what is wrong, as a sentence.
        place: the file, line, section and key, where there is one.
        value: the offending value, as the user wrote it.
        rule: what would have been valid.
        remedy: what to do now.
    """

    def __init__(
        self,
        what: str,
        *,
        place: Place | None = None,
        value: object = None,
        rule: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.place = place
        self.value = value
        self.rule = rule
        self.remedy = remedy
        super().__init__(self.paragraph())

    def paragraph(self) -> str:
        """The whole message as one paragraph without line breaks of its own."""
        where = str(self.place) if self.place is not None else ""
        sentences = [f"{where}: {self.what}" if where else self.what]
        if self.value is not None:
            sentences.append(f"The value is {self.value!r}.")
        sentences += [text for text in (self.rule, self.remedy) if text]
        return " ".join(sentence if sentence[-1] in ".!?" else f"{sentence}." for sentence in sentences)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from workers to the sweep: BaseException's own pickling would call
        # __init__ with the paragraph as its only argument and lose the parts.
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[PufferError], state: dict[str, object]) -> PufferError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (error.paragraph(),)
    return error


class ConfigError(PufferError):
    """A file, section, key or value is wrong."""


class ConfigFileError(ConfigError):
    """The file cannot be read or parsed at all."""


class UnknownNameError(ConfigError):
    """A section, key or option that nothing knows."""


class DialectError(ConfigError):
    """A setting of another dialect that has no counterpart in this one."""


class InfeasibleConfigError(ConfigError):
    """Values that are valid one by one and do not fit together (divisibility, bounds between keys)."""


class MissingExtraError(PufferError):
    """An optional package is not installed.

    Args:
        package: the import name that failed.
        extra: the extra of puffer-sweep that installs it.
        purpose: what it is needed for, as in "Atari environments".
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} need the package {package!r}, which is not installed.",
            remedy=f"Install it with: pip install 'puffer-sweep[{extra}]'.",
        )


class DeviceError(PufferError):
    """The device that was asked for is not there."""


class EnvironmentMakeError(PufferError):
    """An environment cannot be made: an unknown name, or a setting its constructor does not take."""


class TrainingError(PufferError):
    """A run that had started has ended badly."""

    failure_kind: FailureKind = FailureKind.CRASH


class EnvironmentFault(TrainingError):  # noqa: N818 - a fault is what it is, not an error of ours
    """An environment raised, hung, died or returned something that cannot be learnt from."""

    failure_kind = FailureKind.ENVIRONMENT


class NotFiniteError(TrainingError):
    """A loss, a weight or an observation is NaN or infinite."""

    failure_kind = FailureKind.NOT_FINITE


class MemoryExhaustedError(TrainingError):
    """The host or the device ran out of memory; `device` tells which."""

    def __init__(self, what: str, *, on_device: bool, remedy: str | None = None) -> None:
        super().__init__(what, remedy=remedy)
        self.failure_kind = FailureKind.OUT_OF_DEVICE_MEMORY if on_device else FailureKind.OUT_OF_MEMORY


class CheckpointError(TrainingError):
    """A checkpoint is truncated, foreign, or belongs to another configuration."""

    failure_kind = FailureKind.CHECKPOINT
