"""Sweep.run: ask → launch → judge → tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.assigning import Assigner
from sweeper.clock import Clock, SystemClock
from sweeper.interrupt import Interrupts
from sweeper.launchers.make import make_launcher
from sweeper.listener import EndReason, Silence, SweepListener, SweepOutcome, SweepStart
from sweeper.methods import make_method
from sweeper.provenance import command_text
from sweeper.session import Session
from sweeper.setup import choose_name, default_artifacts_folder, process_token, study_spec
from sweeper.space import SearchSpace
from sweeper.store.database import DEFAULT_STORAGE, Store, open_store, refuse_differences, storage_url
from sweeper.store.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from sweeper.launchers import Launcher
    from sweeper.records import Suggestion, Trial
    from sweeper.store.records import StudySpec
    from trainer.config import Config

__all__ = ["EndReason", "Sweep", "SweepListener", "SweepOutcome", "SweepStart"]


@dataclass(slots=True)
class Extras:
    """What a sweep can be given beside its config.

    Attributes:
        enqueued: configurations to try first, inside the space.
        earlier: trials of other studies to learn from, values inside the space.
    """

    enqueued: tuple[Suggestion, ...] = ()
    earlier: tuple[Trial, ...] = ()


class Sweep:
    """One sweep over one study.

    Args:
        config: as loaded, not yet resolved; its `[sweep]` section says everything else.
        storage: a SQLite path or an SQLAlchemy URL.
        study_name: a plain name; made from file and environment where None.
        artifacts_folder: under which the study's folder lies; None for the folder of a SQLite database, or
            `studies`.
        launcher: None for the one that the config asks for; it is closed at the end.
        clock: None for the system's.
        listener: None for nobody.
        command: the command line as typed, kept with each trial.
        extras: enqueued configurations and trials of other studies.

    Raises:
        SweepError: a bad name or space.
    """

    def __init__(
        self,
        config: Config,
        storage: str | Path = DEFAULT_STORAGE,
        study_name: str | None = None,
        artifacts_folder: Path | None = None,
        *,
        launcher: Launcher | None = None,
        clock: Clock | None = None,
        listener: SweepListener | None = None,
        command: tuple[str, ...] = (),
        extras: Extras | None = None,
    ) -> None:
        self.config = config
        self.storage = storage
        self.space = SearchSpace.from_config(config)
        self.study_name = choose_name(config, study_name)
        self.artifacts_folder = (artifacts_folder or default_artifacts_folder(storage)).resolve()
        self._clock = clock or SystemClock()
        self._launcher = launcher
        self._listener = listener or Silence()
        self._command = command_text(command)
        self._extras = extras or Extras()
        self._method = make_method(
            config,
            self.space,
            config.sweep.seed,
            enqueued=self._extras.enqueued,
            earlier=self._extras.earlier,
        )
        self._interrupts = Interrupts(self._wake)

    def stop(self) -> None:
        """Ask the sweep to stop as Ctrl-C does; from any thread, twice for at once."""
        self._interrupts.request()

    def run(self) -> SweepOutcome:
        """Run until a budget is used up, the space is exhausted or somebody stops it.

        Raises:
            SweepError: see sweeper/errors.py. What had been running can be continued all the same.
            PufferError: the environment cannot be made, or the config as written cannot be resolved.
        """
        spec = study_spec(self.config, self.space, self.study_name, self.artifacts_folder)
        self._refuse_early(spec)
        token = process_token(self.storage, self.study_name)
        launcher = self._launcher = self._launcher or make_launcher(
            self.config, token=token, clock=self._clock
        )
        with self._interrupts:
            try:
                # Nothing is written before it is known that the config as written can run.
                assigner = Assigner(self.config, launcher, launcher.survey(self.config))
                assigner.resolve({})
                store = open_store(self.storage, thorough=True, clock=self._clock)
                try:
                    return self._run(store, spec, launcher, assigner)
                finally:
                    store.close()
            finally:
                launcher.close()

    def _run(self, store: Store, spec: StudySpec, launcher: Launcher, assigner: Assigner) -> SweepOutcome:
        store.purge()
        study = store.create(spec)
        ledger = Ledger(study, self._clock, on_note=self._listener.on_note, cost=self.config.sweep.cost)
        session = Session(
            config=self.config,
            space=self.space,
            store=store,
            ledger=ledger,
            launcher=launcher,
            method=self._method,
            assigner=assigner,
            clock=self._clock,
            listener=self._listener,
            interrupts=self._interrupts,
            command=self._command,
        )
        session.open()
        try:
            while (reason := session.reason_to_end()) is None:
                session.fill_slots()
                for event in launcher.events(session.patience_seconds()):
                    session.take(event)
                session.look_around()
        except BaseException as error:
            session.abandon(error)
            raise
        return session.close(reason)

    def _refuse_early(self, spec: StudySpec) -> None:
        """Refuse before any worker is started what can be refused by reading."""
        _, path = storage_url(self.storage)
        if path is not None and (not path.exists() or path.stat().st_size == 0):
            return
        store = open_store(self.storage, clock=self._clock)
        try:
            for info in store.studies():
                if info.name == spec.name:
                    refuse_differences(store.open(spec.name).spec, spec)
        finally:
            store.close()

    def _wake(self) -> None:
        if self._launcher is not None:
            self._launcher.wake()
