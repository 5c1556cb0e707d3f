"""From a point of the search space to a complete, resolved config, and to what a worker is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweeper.provenance import code_folder, git_commit, machine_facts
from sweeper.seeds import trial_seed
from trainer.config import resolve
from trainer.errors import ConfigError, EnvironmentMakeError, InfeasibleConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweeper.launchers import Launcher
    from sweeper.records import Value
    from sweeper.trial import Survey
    from trainer.config import Config

_SURVEYED_SECTIONS = ("base", "env", "vec")


class Assigner:
    """Makes the configs of trials.

    Args:
        config: as written.
        launcher: surveys environments whose settings are swept.
        survey: what is known of the environment as written.
    """

    def __init__(self, config: Config, launcher: Launcher, survey: Survey) -> None:
        self._config = config
        self._launcher = launcher
        self._surveys = {_environment_key(config): survey}
        self.backend = survey.environment.backend

    def resolve(self, values: Mapping[str, Value]) -> Config:
        """The resolved config of a point, without its seed. Needs a free slot where the environment is swept.

        Raises:
            InfeasibleConfigError: the values do not fit together, or no environment can be made of them.
        """
        try:
            config = self._config.override(dict(values), origin="sweep")
            survey = self._survey(config)
        except InfeasibleConfigError:
            raise
        except (ConfigError, EnvironmentMakeError) as error:
            raise InfeasibleConfigError(error.paragraph()) from error
        return resolve(config, survey.environment, survey.cuda_available).config

    def seeded(self, config: Config, number: int, *, swept: Mapping[str, Value], num_threads: int) -> Config:
        """A resolved config with everything that depends on the trial's number and on the machine."""
        seed = self.seed(number)
        settings: dict[str, Any] = {"train.seed": seed, "vec.seed": seed, "train.num_threads": num_threads}
        fresh = {name: value for name, value in settings.items() if name not in swept}
        if config.train.num_threads != "auto":
            fresh.pop("train.num_threads", None)
        return config.override(fresh, origin="sweep")

    def seed(self, number: int) -> int:
        """The seed of a trial."""
        return trial_seed(self._config.sweep.seed, number)

    def _survey(self, config: Config) -> Survey:
        key = _environment_key(config)
        if key not in self._surveys:
            self._surveys[key] = self._launcher.survey(config)
        return self._surveys[key]


def describe_trial(
    source: str, sweep_seed: int, number: int, num_threads: int, now: float
) -> dict[str, object]:
    """The attributes of a trial that are known before it runs.

    Args:
        source: where its values came from.
        sweep_seed: from which its own seed follows.
        number: of the trial.
        num_threads: CPU threads that it gets.
        now: wall clock.
    """
    return {
        "source": source,
        "seed": trial_seed(sweep_seed, number),
        "num_threads": num_threads,
        "commit": git_commit(code_folder()),
        "started_at": now,
        "host": machine_facts()["host"],
        "attempts": 1,
    }


def _environment_key(config: Config) -> str:
    settings = config.values_by_name()
    ignored = {"vec.seed", "vec.num_envs", "vec.num_workers", "vec.batch_size"}
    mine = {
        name: value
        for name, value in settings.items()
        if name.partition(".")[0] in _SURVEYED_SECTIONS and name not in ignored
    }
    return repr(sorted(mine.items(), key=lambda item: item[0]))
