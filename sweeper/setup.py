"""From a config to a study: its name, its folder, and what makes it comparable with itself tomorrow."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.store.database import storage_url
from sweeper.store.names import check_study_name, default_study_name
from sweeper.store.records import StudySpec
from trainer.config import dump_config

if TYPE_CHECKING:
    from sweeper.space import SearchSpace
    from trainer.config import Config

COMPARABLE_SWEEP_KEYS = ("score_rule", "eval_episodes", "cost")
"""Keys of `[sweep]` that decide what a score means, beside metric, goal and objectives."""

FREE_KEYS = frozenset(
    {
        "train.device",
        "train.seed",
        "train.num_threads",
        "train.cpu_offload",
        "train.compile",
        "train.compile_mode",
        "train.compile_fullgraph",
        "train.data_dir",
        "train.checkpoint_interval",
        "train.restarts",
        "train.name",
        "train.project",
        "vec.backend",
        "vec.num_workers",
        "vec.zero_copy",
        "vec.seed",
        "vec.timeout_seconds",
    }
)
"""Settings that may change within a study: where and how fast it runs, not what it learns."""


def study_spec(config: Config, space: SearchSpace, name: str, artifacts_folder: Path) -> StudySpec:
    """What makes the study of a config itself."""
    goals = tuple(config.sweep.goal if name == "score" else "minimize" for name in config.sweep.objectives)
    return StudySpec(
        name=check_study_name(name),
        goals=goals,
        objectives=tuple(config.sweep.objectives),
        metric=config.sweep.metric,
        space=space.description(),
        settings=fixed_settings(config, space),
        config=dump_config(config),
        artifacts_folder=artifacts_folder,
        environment=environment_name(config),
    )


def fixed_settings(config: Config, space: SearchSpace) -> dict[str, Any]:
    """Every setting that is the same for all trials and that scores depend on."""
    swept = set(space.names)
    settings = {}
    for name, value in config.values_by_name().items():
        if name in swept or name in FREE_KEYS:
            continue
        section, _, key = name.partition(".")
        if section != "sweep" or key in COMPARABLE_SWEEP_KEYS:
            settings[name] = value
    return settings


def environment_name(config: Config) -> str:
    """The environment as people name it."""
    parts = [part for part in (config.base.package, config.base.env_name) if part]
    return "/".join(parts) or "environment"


def choose_name(config: Config, asked: str | None) -> str:
    """The name that is asked for, or one made from the config's file and environment.

    Raises:
        StudyNameError: a name that is not plain.
    """
    if asked is not None:
        return check_study_name(asked)
    file = next(
        (
            place.file
            for name in ("base.env_name", "base.package", "train.total_timesteps", "sweep.max_runs")
            if (place := config.origin(name).place) is not None and place.file is not None
        ),
        None,
    )
    stem = Path(file).stem if file else None
    return default_study_name(None if stem == "default" else stem, config.base.env_name)


def default_artifacts_folder(storage: str | Path) -> Path:
    """Beside a SQLite file; `studies` here for any other database."""
    _, path = storage_url(storage)
    return path.parent if path is not None else Path("studies").resolve()


def process_token(storage: str | Path, name: str) -> str:
    """What the processes of a study's sweeps are known by on this machine."""
    url, _ = storage_url(storage)
    return hashlib.sha256(f"{url}\n{name}".encode()).hexdigest()[:16]
