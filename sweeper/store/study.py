"""One study: its trials, curves, requests and lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

    from sweeper.records import Trial
    from sweeper.store.records import CurvePoint, LockInfo, Request, RequestKind, StudyInfo, StudySpec


class StoredStudy:
    """A handle on one study.

    Attributes:
        name, uuid: `uuid` survives a rename and a re-created study of the same name has another.
        spec: space, settings, metric, goals and the config as written.
        max_runs: the budget as it stands, `extend` included.
        optuna_study: the same study as Optuna sees it.
    """

    name: str
    uuid: str
    spec: StudySpec
    max_runs: int | None
    optuna_study: optuna.Study

    def trials(self) -> list[Trial]:
        """Snapshots of all trials by number."""
        raise NotImplementedError

    def trial(self, number: int) -> Trial:
        """One trial.

        Raises:
            StudyNotFoundError: no trial of that number.
        """
        raise NotImplementedError

    def best(self) -> Trial | None:
        """The best complete trial (by the first objective)."""
        raise NotImplementedError

    def curve(self, uuid: str) -> list[CurvePoint]:
        """The whole learning curve of a trial."""
        raise NotImplementedError

    def curves(self, uuids: Sequence[str] | None = None) -> dict[str, list[CurvePoint]]:
        """Whole learning curves by trial uuid; of all trials when none are named."""
        raise NotImplementedError

    def info(self) -> StudyInfo:
        """Counts and the best, without loading trials."""
        raise NotImplementedError

    def trial_folder(self, number: int) -> Path:
        """`<artifacts>/<study>/trial-0007`."""
        raise NotImplementedError

    def lock_info(self) -> LockInfo | None:
        """Who runs this study now; None if nobody does."""
        raise NotImplementedError

    def request(self, kind: RequestKind, argument: Mapping[str, Any] | None = None) -> int:
        """Leave a request for the lock holder (or for whoever takes the lock next); its id."""
        raise NotImplementedError

    def requests(self, *, open_only: bool = True) -> list[Request]:
        """Requests in the order they came."""
        raise NotImplementedError

    def attributes(self) -> dict[str, Any]:
        """The study's own notes: config, versions, elapsed_seconds …"""
        raise NotImplementedError
