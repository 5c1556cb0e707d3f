"""The config itself: frozen, typed, validated, and knowing where each value came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from trainer.config.frozen import FrozenMap
from trainer.config.origin import CODE, DEFAULT, Entry, Origin
from trainer.config.parameters import PARAMETER_KEYS, ParameterSpec
from trainer.config.sections import (
    FREE_SECTIONS,
    SECTION_MODELS,
    BaseSection,
    SweepKeys,
    TrainSection,
    VecSection,
)
from trainer.errors import UnknownNameError

Arguments = Annotated[Mapping[str, Any], AfterValidator(FrozenMap)]
Parameters = Annotated[Mapping[str, ParameterSpec], AfterValidator(FrozenMap)]

_DEFAULT_ORIGIN = Origin(DEFAULT)


class SweepSection(SweepKeys):
    """`[sweep]` and all its `[sweep.SECTION.KEY]`.

    Attributes:
        parameters: what is swept: full name (`train.gamma`) to spec, in the file's order.
        unswept: parameters that are declared and left out by `sweep_only`.
    """

    parameters: Parameters = Field(default_factory=FrozenMap)
    unswept: Parameters = Field(default_factory=FrozenMap)


class Config(BaseModel):
    """One complete, validated configuration. Frozen; pickles; compares by its values alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: BaseSection = Field(default_factory=BaseSection)
    vec: VecSection = Field(default_factory=VecSection)
    env: Arguments = Field(default_factory=FrozenMap)
    policy: Arguments = Field(default_factory=FrozenMap)
    rnn: Arguments = Field(default_factory=FrozenMap)
    train: TrainSection = Field(default_factory=TrainSection)
    sweep: SweepSection = Field(default_factory=SweepSection)

    _origins: Mapping[str, Origin] = PrivateAttr(default_factory=FrozenMap)
    _notes: tuple[str, ...] = PrivateAttr(default=())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Config):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Config.model_fields)

    __hash__ = None  # type: ignore[assignment]  # the free sections hold lists

    @property
    def notes(self) -> tuple[str, ...]:
        """What loading did that a person should hear of: translated settings, clipped means, pinned keys."""
        return self._notes

    def get(self, name: str) -> Any:
        """The value of a setting by its full name: `train.gamma`, `env.frameskip`, `sweep.train.gamma.max`.

        Raises:
            UnknownNameError: there is no such setting.
        """
        values = self.values_by_name()
        if name not in values:
            from trainer.config.names import check_name

            check_name(name)
            raise UnknownNameError(f"{name} is not set")
        return values[name]

    def origin(self, name: str) -> Origin:
        """Where the value of a setting came from."""
        return self._origins.get(name, _DEFAULT_ORIGIN)

    def values_by_name(self) -> dict[str, Any]:
        """Every setting by its full name, parameters of the sweep included, as plain data."""
        values: dict[str, Any] = {}
        for section, model in SECTION_MODELS.items():
            held = getattr(self, section)
            values.update({f"{section}.{key}": getattr(held, key) for key in model.model_fields})
        for section in FREE_SECTIONS:
            values.update({f"{section}.{key}": value for key, value in getattr(self, section).items()})
        for name, spec in (*self.sweep.parameters.items(), *self.sweep.unswept.items()):
            for key in PARAMETER_KEYS:
                value = getattr(spec, key)
                if value is not None:
                    values[f"sweep.{name}.{key}"] = value
        return values

    def override(self, values: Mapping[str, Any], origin: str = CODE) -> Config:
        """A new config with these values, validated anew; this one stays as it is.

        Args:
            values: by full name: `{"train.gamma": 0.99, "sweep.train.gamma.max": 0.999}`.
            origin: what `Config.origin` will say about them; with `command line` a swept key is pinned.

        Raises:
            ConfigError: a name that nothing knows, or a value that its setting does not take.
        """
        from trainer.config.build import build_config
        from trainer.config.names import normalise_name

        told = self._origins
        entries = {
            name: Entry(value, told.get(name, _DEFAULT_ORIGIN))
            for name, value in self.values_by_name().items()
        }
        fresh = {normalise_name(name): Entry(value, Origin(origin)) for name, value in values.items()}
        return build_config(entries, fresh, notes=self._notes)


def attach(config: Config, origins: Mapping[str, Origin], notes: tuple[str, ...]) -> Config:
    """Give a config that was just made its origins and notes, before anybody else sees it."""
    config._origins = FrozenMap(origins)  # noqa: SLF001
    config._notes = notes  # noqa: SLF001
    return config
