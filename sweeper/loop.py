"""Sweep.run: ask → launch → judge → tell."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeper.assigning import Assigner
from sweeper.clock import Clock, SystemClock
from sweeper.extras import Extras, gather_extras
from sweeper.interrupt import Interrupts
from sweeper.launchers.make import make_launcher
from sweeper.launchers.open_house import OpenHouse
from sweeper.launchers.process_tree import kill_bearers
from sweeper.listener import UNHURRIED, EndReason, Silence, SweepListener, SweepOutcome, SweepStart
from sweeper.methods import make_method
from sweeper.opening import open_session, outcome_of
from sweeper.provenance import command_text
from sweeper.setup import choose_name, default_artifacts_folder, process_token, study_spec
from sweeper.space import SearchSpace
from sweeper.store.database import DEFAULT_STORAGE, Store, open_store, refuse_differences, storage_url
from sweeper.store.ledger import Ledger
from sweeper.store.writer import StudyGoneError

if TYPE_CHECKING:
    from pathlib import Path

    from sweeper.launchers import Launcher
    from sweeper.oversight import Oversight
    from sweeper.session import Session
    from sweeper.store.records import StudySpec
    from trainer.config import Config

__all__ = ["EndReason", "Extras", "Sweep", "SweepListener", "SweepOutcome", "SweepStart"]

PATIENCE_SECONDS = 0.25
"""How long the loop waits for an event before it looks around."""


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
        extras: enqueued configurations and trials of other studies; None for those that the config names.

    Raises:
        SweepError: a bad name, space or method, or a study to learn from that is not there.
        ConfigError: a file to enqueue is not valid.
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
        self._notes: tuple[str, ...] = ()
        if extras is None:
            extras, self._notes = gather_extras(config, storage)
        self.config = config
        self.storage = storage
        self.space = SearchSpace.from_config(config)
        self.study_name = choose_name(config, study_name)
        self.artifacts_folder = (artifacts_folder or default_artifacts_folder(storage)).resolve()
        self.clock = clock or SystemClock()
        self.listener = listener or Silence()
        self.command = command_text(command)
        self.method = make_method(
            config, self.space, config.sweep.seed, enqueued=extras.enqueued, earlier=extras.earlier
        )
        self._launcher = launcher
        self._interrupts = Interrupts(self._wake)

    def stop(self) -> None:
        """Ask the sweep to stop as Ctrl-C does; from any thread, twice for at once."""
        self._interrupts.request()

    @property
    def was_told_twice(self) -> bool:
        """Whether somebody has asked to stop at once: whatever can wait for another time is left out."""
        return self._interrupts.stop_now

    def run(self) -> SweepOutcome:
        """Run until a budget is used up, the space is exhausted or somebody stops it.

        Raises:
            SweepError: see sweeper/errors.py. What had been running can be continued all the same.
            PufferError: the environment cannot be made, or the config as written cannot be resolved.
        """
        spec = study_spec(self.config, self.space, self.study_name, self.artifacts_folder)
        self._refuse_early(spec)
        for note in self._notes:
            self.listener.on_note(note)
        token = process_token(self.storage, self.study_name)
        launcher = self._launcher or make_launcher(self.config, token=token, clock=self.clock)
        self._launcher = launcher
        with self._interrupts:
            try:
                # Nothing is written before it is known that the config as written can run.
                assigner = Assigner(self.config, launcher, launcher.survey(self.config))
                assigner.resolve({})
                store = open_store(self.storage, thorough=True, clock=self.clock)
                try:
                    outcome = self._run(store, spec, launcher, assigner, token)
                finally:
                    store.close()
            finally:
                launcher.close()
            outcome = self._confirmed(outcome, token)
        self.listener.on_sweep_finished(outcome)
        return outcome

    def _run(
        self, store: Store, spec: StudySpec, launcher: Launcher, assigner: Assigner, token: str
    ) -> SweepOutcome:
        store.purge()
        study = store.create(spec)
        ledger = Ledger(study, self.clock, on_note=self.listener.on_note, cost=self.config.sweep.cost)
        kill_bearers(token, but=launcher.token)
        if isinstance(launcher, OpenHouse):
            launcher.open_door(study.folder, self.listener.on_note)
        began_at = self.clock.monotonic()
        try:
            session, oversight = open_session(self, store, ledger, launcher, assigner, self._interrupts)
            try:
                self._turn(session, oversight)
                oversight.film_the_best(in_a_hurry=session.reason_to_end() not in UNHURRIED)
            finally:
                oversight.close()
                session.asker.close()
        except BaseException as error:
            self._abandon(ledger, launcher, gone=isinstance(error, StudyGoneError))
            if not isinstance(error, StudyGoneError):
                raise
            return outcome_of(ledger, EndReason.DELETED, self.clock.monotonic() - began_at)
        reason = session.reason_to_end() or EndReason.STOPPED
        if self.was_told_twice and ledger.is_behind():
            self.listener.on_note("The database is not waited for; the same command recovers what it lacks.")
            ledger.abandon(gone=True)
        else:
            ledger.close()
        outcome = outcome_of(ledger, reason, self.clock.monotonic() - began_at)
        if reason is EndReason.DELETED:
            store.delete(study.name)
            if session.delete_folders:
                shutil.rmtree(study.folder, ignore_errors=True)
        return outcome

    def _turn(self, session: Session, oversight: Oversight) -> None:
        """The wheel: until nothing runs and nothing is to be started."""
        oversight.heed()  # an earlier sitting may have used up the budget
        while True:
            session.fill_slots()
            reason = session.reason_to_end()
            if reason in UNHURRIED:
                oversight.hear_the_last()
                session.fill_slots()
                reason = session.reason_to_end()
            if reason is not None:
                return
            for event in session.launcher.events(PATIENCE_SECONDS):
                session.take(event)
            oversight.heed()
            # A slot that has fallen free waits for nothing that can wait.
            session.fill_slots()
            oversight.look_around()

    def _abandon(self, ledger: Ledger, launcher: Launcher, *, gone: bool) -> None:
        """End badly: what was running can be continued, if the study is still there."""
        launcher.close()
        ledger.abandon(gone=gone)
        if gone:
            ledger.clear_away()

    def _confirmed(self, outcome: SweepOutcome, token: str) -> SweepOutcome:
        """`[sweep] confirm_top`: the leaders once more with fresh seeds, where there is time for it."""
        wanted = self.config.sweep
        if not wanted.confirm_top or outcome.reason not in UNHURRIED or outcome.best is None:
            return outcome
        from sweeper.confirm import confirm_study

        launcher = make_launcher(self.config, token=token, clock=self.clock)
        self._launcher = launcher
        store = open_store(self.storage, clock=self.clock)
        try:
            repeats = confirm_study(
                store.open(outcome.study_name),
                self.storage,
                self.clock,
                top=wanted.confirm_top,
                seeds=wanted.confirm_seeds,
                on_note=self.listener.on_note,
                launcher=launcher,
                interrupts=self._interrupts,
            )
        finally:
            launcher.close()
            store.close()
        return replace(outcome, repeats=repeats)

    def _refuse_early(self, spec: StudySpec) -> None:
        """Refuse before any worker is started what can be refused by reading."""
        _, path = storage_url(self.storage)
        if path is not None and (not path.exists() or path.stat().st_size == 0):
            return
        store = open_store(self.storage, clock=self.clock)
        try:
            for info in store.studies():
                if info.name == spec.name:
                    study = store.open(spec.name)
                    refuse_differences(study.spec, spec)
                    study.refuse_if_locked()
        finally:
            store.close()

    def _wake(self) -> None:
        if self._launcher is not None:
            self._launcher.wake()
