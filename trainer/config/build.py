"""From named values to a validated Config: the one road that files, command lines and code take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainer.config import schema
from trainer.config.model import Config, SweepSection, attach
from trainer.config.names import check_name, match_sweep_only, split_parameter_name
from trainer.config.nearest import suggest
from trainer.config.origin import COMMAND_LINE, DEFAULT, Entry, Origin
from trainer.config.parameters import (
    DISTRIBUTIONS,
    BrokenRuleError,
    ParameterSpec,
    clip_mean,
    unknown_distribution_remedy,
)
from trainer.config.problems import raise_problems
from trainer.config.sections import FREE_SECTIONS, SECTION_MODELS
from trainer.config.values import is_thousands, plain_value
from trainer.errors import ConfigError, Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails


def build_config(
    *layers: Mapping[str, Entry], notes: tuple[str, ...] = (), problems: Sequence[ConfigError] = ()
) -> Config:
    """Merge layers of entries by full name, later ones winning key by key, and validate the result.

    Args:
        layers: entries by full name.
        notes: what was already said about them.
        problems: mistakes that were already found in them; they are raised together with the new ones.

    Raises:
        ConfigError: one error for all mistakes found.
    """
    merged: dict[str, Entry] = {}
    for layer in layers:
        merged.update(layer)
    return _Builder(merged, list(notes), list(problems)).build()


class _Builder:
    """Collects mistakes and notes while a config is put together."""

    def __init__(self, entries: Mapping[str, Entry], notes: list[str], problems: list[ConfigError]) -> None:
        self.entries = entries
        self.notes = notes
        self.problems = problems
        self.told: set[str] = set()

    def build(self) -> Config:
        sections: dict[str, dict[str, Any]] = {name: {} for name in (*SECTION_MODELS, *FREE_SECTIONS)}
        declared: dict[str, dict[str, Any]] = {}
        for name, entry in self.entries.items():
            try:
                check_name(name, self.place(name))
                value = self.value(name, entry)
            except ConfigError as error:
                self.tell_once(name, error)
                continue
            parameter = split_parameter_name(name)
            if parameter is not None:
                declared.setdefault(parameter[0], {})[parameter[1]] = value
            else:
                section, _, key = name.partition(".")
                sections[section][key] = value
        validated = {section: self.section(section, sections[section]) for section in SECTION_MODELS}
        specs = self.parameters(declared, sections)
        raise_problems(self.problems)

        sweep_only = validated["sweep"].sweep_only
        chosen = set(specs)
        if sweep_only is not None:
            chosen = match_sweep_only(sweep_only, specs, self.place("sweep.sweep_only"))
        keys = {key: getattr(validated["sweep"], key) for key in type(validated["sweep"]).model_fields}
        config = Config(
            base=validated["base"],
            vec=validated["vec"],
            train=validated["train"],
            sweep=SweepSection(
                **keys,
                parameters={name: spec for name, spec in specs.items() if name in chosen},
                unswept={name: spec for name, spec in specs.items() if name not in chosen},
            ),
            **{section: sections[section] for section in FREE_SECTIONS},
        )
        origins = {name: entry.origin for name, entry in self.entries.items()}
        return attach(config, origins, tuple(dict.fromkeys(self.notes)))

    def tell_once(self, name: str, error: ConfigError) -> None:
        """Note a mistake; an unknown parameter is one, however many keys its section has."""
        parameter = split_parameter_name(name)
        subject = name if parameter is None or name in self.told else f"{parameter[0]}: {error.what}"
        if subject not in self.told:
            self.told.add(subject)
            self.problems.append(error)

    def place(self, name: str) -> Place:
        """The place of an entry, or at least the names of its section and key."""
        entry = self.entries.get(name)
        if entry is not None and entry.origin.place is not None:
            return entry.origin.place
        section, _, key = name.rpartition(".")
        return Place(section=section, key=key)

    def value(self, name: str, entry: Entry) -> Any:
        """The entry's value as plain data; a number grouped by commas is read as the one number it is."""
        text = entry.origin.text
        if text is not None and is_thousands(text) and _takes_one_number(name):
            number = int(text.split("#")[0].split(";")[0].strip().replace(",", ""))
            self.notes.append(f"{self.place(name)}: {text} is read as {number}.")
            return number
        try:
            return plain_value(entry.value)
        except ValueError as error:
            raise ConfigError(f"{error}", place=self.place(name), value=_shown(entry.value)) from error

    def section(self, section: str, values: Mapping[str, Any]) -> Any:
        """The validated section; its defaults where a mistake was found, so that later checks can go on."""
        model = SECTION_MODELS[section]
        try:
            return model.model_validate(values)
        except ValidationError as error:
            told: set[str] = set()
            for detail in error.errors(include_url=False):
                key = str(detail["loc"][0])
                if key not in told:
                    told.add(key)
                    self.problems.append(self.invalid_value(f"{section}.{key}"))
            return model.model_validate({key: value for key, value in values.items() if key not in told})

    def invalid_value(self, name: str) -> ConfigError:
        """The error for a value that its setting does not take."""
        entry, known = self.entries[name], schema.entries()[name]
        remedy = None
        if isinstance(entry.value, str) and known.choices:
            remedy = suggest(entry.value, known.choices)
        return ConfigError(
            f"{known.key} does not take this value",
            place=self.place(name),
            value=entry.origin.text if entry.origin.text is not None else _shown(entry.value),
            rule=known.rule,
            remedy=remedy,
        )

    def parameters(
        self, declared: Mapping[str, Mapping[str, Any]], sections: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, ParameterSpec]:
        """The validated specs; settings given on the command line are pinned and leave the space."""
        specs: dict[str, ParameterSpec] = {}
        for name, keys in declared.items():
            given = self.entries.get(name)
            if given is not None and given.origin.kind == COMMAND_LINE:
                self.notes.append(f"{name} is given on the command line: it is not swept.")
                continue
            spec = self.parameter(name, keys, _is_whole(name, keys, sections))
            if spec is not None:
                specs[name] = spec
        return specs

    def parameter(self, name: str, keys: Mapping[str, Any], whole: bool) -> ParameterSpec | None:  # noqa: FBT001
        """One validated spec, or None after a mistake was noted."""
        first = self.place(f"sweep.{name}.{next(iter(keys))}")
        place = Place(first.file, first.line, f"sweep.{name}")
        if "distribution" not in keys and keys.get("values") is None:
            self.problems.append(
                ConfigError(
                    f"{name} has no distribution",
                    place=place,
                    rule=f"A swept parameter needs one of {', '.join(DISTRIBUTIONS)}, with bounds or values.",
                    remedy=f"Complete [sweep.{name}], or remove it.",
                )
            )
            return None
        keys = dict(keys)
        self.drop_unfit_default_scale(name, keys)
        try:
            spec = ParameterSpec(name=name, whole=whole, place=place, **keys)
        except ValidationError as error:
            self.problems.extend(
                self.invalid_parameter(name, detail, place) for detail in error.errors(include_url=False)
            )
            return None
        return self.fit_to_setting(self.with_clipped_mean(spec))

    def drop_unfit_default_scale(self, name: str, keys: dict[str, Any]) -> None:
        """A file that changes a default's distribution does not mean its `scale = time`."""
        origin = self.entries[f"sweep.{name}.scale"].origin if "scale" in keys else None
        if origin is None or origin.kind != DEFAULT or keys["scale"] != "time":
            return
        if keys.get("distribution") != "log_normal":
            keys["scale"] = "auto"
            self.notes.append(
                f"{origin.place}: scale = time does not fit {keys.get('distribution')}; auto is taken."
            )

    def with_clipped_mean(self, spec: ParameterSpec) -> ParameterSpec:
        """The spec with its mean inside its bounds, said aloud where it was no rounding error."""
        if not isinstance(spec.mean, (int, float)) or spec.min is None or spec.max is None:
            return spec
        clipped, warning = clip_mean(
            spec.mean, spec.min, spec.max, label=str(self.place(f"sweep.{spec.name}.mean"))
        )
        if warning is not None:
            self.notes.append(warning)
        return spec if clipped == spec.mean else spec.model_copy(update={"mean": clipped})

    def fit_to_setting(self, spec: ParameterSpec) -> ParameterSpec | None:
        """Refuse a spec whose bounds or values the setting itself would refuse."""
        known = schema.entries().get(spec.name)
        if known is None:
            return spec
        if spec.values is None and not schema.is_number(spec.name):
            self.problems.append(
                ConfigError(
                    f"{spec.name} is no number and cannot be swept between bounds",
                    place=spec.place,
                    rule=known.rule,
                    remedy="Use distribution = categorical with values.",
                )
            )
            return None
        checked: dict[str, Any] = {"min": spec.min, "max": spec.max}
        if spec.values is not None:
            checked = {"values": None} | {f"values[{i}]": choice for i, choice in enumerate(spec.values)}
        for key, value in checked.items():
            probe = round(value) if known.whole and isinstance(value, float) else value
            if value is not None and not schema.accepts(spec.name, probe):
                self.problems.append(
                    ConfigError(
                        f"{spec.name} does not take this value",
                        place=self.place(f"sweep.{spec.name}.{key.partition('[')[0]}"),
                        value=value,
                        rule=known.rule,
                    )
                )
                return None
        return spec

    def invalid_parameter(self, name: str, detail: ErrorDetails, place: Place) -> ConfigError:
        """The error for a key of a swept parameter, or for a rule between its keys."""
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, BrokenRuleError):
            full = f"sweep.{name}.{cause.key}"
            where = self.place(full) if full in self.entries else place
            return ConfigError(f"{name}: {cause.what}", place=where, rule=cause.rule, remedy=cause.remedy)
        key = str(detail["loc"][0])
        full = f"sweep.{name}.{key}"
        entry = self.entries.get(full)
        value = None if entry is None else entry.origin.text or _shown(entry.value)
        remedy = unknown_distribution_remedy(value) if key == "distribution" else None
        sentence = schema.parameter_keys().get(key, "")
        return ConfigError(
            f"{key} of {name} does not take this value",
            place=self.place(full),
            value=value,
            rule=sentence,
            remedy=remedy,
        )


def _takes_one_number(name: str) -> bool:
    parameter = split_parameter_name(name)
    if parameter is not None:
        return parameter[1] in ("min", "max", "mean")
    known = schema.entries().get(name)
    return known is not None and "a whole number" in known.kind


def _is_whole(name: str, keys: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a parameter's values are whole numbers: as the schema says, and without one as the file writes them.

    `reward = -1` swept from -1 to 0 means a real number: only a range of at least three whole numbers counts.
    """
    known = schema.entries().get(name)
    if known is not None:
        return known.whole
    section, _, key = name.partition(".")
    written = (sections.get(section, {}).get(key), keys.get("min"), keys.get("max"))
    if any(not isinstance(number, int) or isinstance(number, bool) for number in written):
        return False
    return int(written[2] or 0) - int(written[1] or 0) >= 2


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else value
    return text if len(text) <= 200 else text[:197] + "..."


def entry_from_code(value: object, kind: str) -> Entry:
    """An entry for a value that no file holds."""
    return Entry(value, Origin(kind))
