"""The loop's view of its study: every trial in memory, up to date, and written behind.

Only the holder of the study's lock has a ledger. Snapshots change at once; the database follows through the writer, so
that neither a slot nor a search method ever waits for a disk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DatabaseError

from sweeper.errors import SweepError
from sweeper.limits import num_started
from sweeper.records import Observation, Trial, TrialState, Value
from sweeper.score import Thinner
from sweeper.store import optuna_rows
from sweeper.store.attributes import failure_attributes, objective_values, scored, spent_attributes
from sweeper.store.connections import storage_error
from sweeper.store.curves import append_points, cut_curve, read_curves
from sweeper.store.inbox import Inbox
from sweeper.store.insertion import insert_trial, next_number
from sweeper.store.rows import read_trials, trial_row
from sweeper.store.tables import STUDIES, TRIALS
from sweeper.store.tenure import Tenure
from sweeper.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from optuna.distributions import BaseDistribution

    from sweeper.clock import Clock
    from sweeper.store.lock import Holder
    from sweeper.store.records import CurvePoint
    from sweeper.store.study import StoredStudy
    from trainer.errors import FailureKind

FLUSH_INTERVAL_SECONDS = 1.0
CATCH_UP_SECONDS = 2.0
MOST_BEHIND_SECONDS = 10.0
"""While a transaction takes longer, no trial is begun: a kill would forget it."""


_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)


@dataclass(slots=True)
class _Unwritten:
    """What the database does not know yet of a trial."""

    points: list[CurvePoint] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)


class Ledger:
    """All trials of one study, for the process that runs it.

    Args:
        study: the study; its lock is taken.
        clock: the sweep's.
        on_note: told when the database makes the sweep wait; called from the writer's thread.
        cost: what the objective `cost` counts: `uptime` or `agent_steps`.
        holder: who takes the lock; None for this process.

    Raises:
        StudyLockedError: another process runs the study.
    """

    def __init__(
        self,
        study: StoredStudy,
        clock: Clock,
        *,
        on_note: Callable[[str], None] | None = None,
        cost: str = "uptime",
        holder: Holder | None = None,
    ) -> None:
        self.study = study
        self._clock = clock
        self._cost = cost
        self._tenure = Tenure(study, clock, holder)
        with study.engine.connect() as connection:
            stored = read_trials(connection, study.uuid)
            self._num_known = next_number(connection, study.study_id)
        self._trials: dict[str, Trial] = {}
        self._cost_seconds = 0.0
        self._num_started: int | None = None
        for _, trial in stored:
            self._keep(trial)
        # Filled in by the writer's thread, which alone asks for them.
        self._ids = {trial.uuid: trial_id for trial_id, trial in stored}
        self._next_number = max([self._num_known, *(trial.number + 1 for _, trial in stored)])
        self._thinners: dict[str, Thinner] = {}
        self._unwritten: dict[str, _Unwritten] = {}
        self._flushed_at = clock.monotonic()
        self.writer = Writer(study.engine, study.study_id, study.uuid, path=study.path, on_note=on_note)
        self.inbox = Inbox(self.writer, study.uuid, clock)

    # --- reading -------------------------------------------------------------------------------------------------

    def trials(self) -> list[Trial]:
        """Snapshots of all trials by number."""
        return list(self._trials.values())

    def trial(self, uuid: str) -> Trial:
        """One trial as it stands."""
        return self._trials[uuid]

    def in_state(self, *states: TrialState) -> list[Trial]:
        """Trials in one of these states, by number."""
        return [trial for trial in self._trials.values() if trial.state in states]

    def cost_seconds(self) -> float:
        """Training time of all trials together."""
        return self._cost_seconds

    def num_ended(self) -> int:
        """Trials that neither run nor wait."""
        return len(self.in_state(*_ENDED))

    def num_started(self) -> int:
        """Configurations that count towards the budget: see `sweeper.limits.num_started`."""
        if self._num_started is None:
            self._num_started = num_started(self.trials())
        return self._num_started

    def curve(self, uuid: str) -> list[CurvePoint]:
        """The whole curve of a trial, what is not written yet included; waits for the database."""
        return self.ask_for_curve(uuid).result()

    def ask_for_curve(self, uuid: str) -> Future[list[CurvePoint]]:
        """The same, once the database has answered."""
        self._write_progress(uuid)
        return self.writer.ask(lambda connection: read_curves(connection, [uuid]).get(uuid, []))

    def is_behind(self) -> bool:
        """Whether the database has kept us waiting for so long that nothing new should be begun."""
        return self.writer.waiting_seconds() > MOST_BEHIND_SECONDS

    # --- writing trials ------------------------------------------------------------------------------------------

    def add(
        self,
        values: Mapping[str, Value],
        *,
        distributions: Mapping[str, BaseDistribution],
        describe: Callable[[int], Mapping[str, object]],
        total_agent_steps: int = 0,
        state: TrialState = TrialState.RUNNING,
        failure_kind: FailureKind | None = None,
        failure_message: str = "",
    ) -> Trial:
        """Add a trial and hand it back with its number; written soon, at once.

        Waits a moment where trials come more quickly than they can be written.
        A kill before it is written leaves a folder that the next trial of this number makes its own.

        Args:
            values: natural values of the swept parameters.
            distributions: Optuna's, by name, for the same parameters.
            describe: attributes of the trial from its number.
            total_agent_steps: of its full length.
            state: RUNNING, QUEUED or INFEASIBLE.
            failure_kind: of an infeasible one.
            failure_message: of an infeasible one.
        """
        self.writer.catch_up(CATCH_UP_SECONDS)
        now, study_id = self._clock.now(), self.study.study_id
        uuid = str(uuid4())
        number = max(self._next_number, self._num_known)
        self._next_number = number + 1
        trial = Trial(
            number=number,
            uuid=uuid,
            state=state,
            values=dict(values),
            total_agent_steps=total_agent_steps,
            failure_kind=failure_kind,
            failure_message=failure_message,
            attributes={"uuid": uuid, "phase": state.value, **describe(number)},
        )
        self._keep(trial)
        self._thinners[uuid] = Thinner(total_agent_steps)

        def write(connection: Connection) -> None:
            # Not always ours: somebody may have added a trial of Optuna's own this moment.
            optuna_number = next_number(connection, study_id)
            trial_id = insert_trial(
                connection,
                trial,
                study_id=study_id,
                number=optuna_number,
                distributions=distributions,
                now=now,
            )
            self._ids[uuid] = trial_id
            self._num_known = optuna_number + 1
            row = trial_row(trial, study_uuid=self.study.uuid, trial_id=trial_id, changed_at=now)
            connection.execute(insert(TRIALS).values(row))
            self._touch(connection, now)

        self.writer.put(write)
        return trial

    def change(
        self, uuid: str, state: TrialState, *, attributes: Mapping[str, object] | None = None, **columns: Any
    ) -> Trial:
        """Move a trial to another state, with whatever else has changed of its snapshot; written soon, at once.

        Args:
            uuid: the trial.
            state: its new state.
            attributes: to set; others stay.
            columns: other fields of `Trial`.
        """
        old = self._trials[uuid]
        merged = {**old.attributes, **(attributes or {}), "phase": state.value}
        trial = replace(old, state=state, attributes=merged, **columns)
        self._write_progress(uuid)
        self._keep(trial)
        if state in _ENDED:
            self._thinners.pop(uuid, None)
        now = self._clock.now()
        changed = {key: value for key, value in merged.items() if old.attributes.get(key) != value}
        changed |= failure_attributes(trial) | spent_attributes(trial)
        values = objective_values(trial, self.study.spec.objectives, self._cost)

        def write(connection: Connection) -> None:
            trial_id = self._ids[uuid]
            optuna_rows.write_attributes(connection, trial_id, changed)
            if state is not old.state:
                optuna_rows.write_state(connection, trial_id, state, values, now)
            self._update_row(connection, trial, now)
            self._touch(connection, now)

        self.writer.put(write)
        return trial

    def begin_run(self, uuid: str, from_steps: int, known: Sequence[CurvePoint] = ()) -> Trial:
        """A worker has begun a trial, at the start or from a checkpoint: what lies beyond it is forgotten.

        Args:
            uuid: the trial.
            from_steps: agent steps of the checkpoint; 0 for a beginning.
            known: its whole curve so far.
        """
        old = self._trials[uuid]
        kept = [point for point in known if point.agent_steps <= from_steps]
        if not known or (
            old.agent_steps <= from_steps and len(kept) == len(known) and uuid in self._thinners
        ):
            self._thinners.setdefault(uuid, Thinner(old.total_agent_steps))
            return old
        thinner, observations = Thinner.after(scored(kept), old.total_agent_steps)
        self._thinners[uuid] = thinner
        trial = replace(
            old,
            curve=tuple(observations),
            agent_steps=kept[-1].agent_steps if kept else 0,
            cost_seconds=kept[-1].cost_seconds if kept else 0.0,
            score=observations[-1].score if observations else None,
        )
        self._keep(trial)
        now = self._clock.now()

        def write(connection: Connection) -> None:
            cut_curve(connection, uuid, from_steps + 1)
            optuna_rows.write_observations(connection, self._ids[uuid], trial.curve, trial.total_agent_steps)
            self._update_row(connection, trial, now)

        self.writer.put(write)
        return trial

    def report(self, uuid: str, point: CurvePoint) -> tuple[Trial, Observation | None]:
        """Add an epoch to a running trial: its snapshot, and the observation it has brought, if any."""
        old = self._trials[uuid]
        thinner = self._thinners.setdefault(uuid, Thinner(old.total_agent_steps))
        observation = thinner.add(point.agent_steps, point.cost_seconds, point.score)
        unwritten = self._unwritten.setdefault(uuid, _Unwritten())
        unwritten.points.append(point)
        trial = replace(
            old,
            agent_steps=point.agent_steps,
            cost_seconds=point.cost_seconds,
            curve=old.curve if observation is None else (*old.curve, observation),
            score=old.score if observation is None else observation.score,
        )
        if observation is not None:
            unwritten.observations.append(observation)
        self._keep(trial)
        return trial, observation

    def backfill(self, uuid: str, known: Sequence[CurvePoint], missing: Sequence[CurvePoint]) -> None:
        """Add points to the known curve of a trial that no worker has, which a kill kept from being told."""
        trial = self._trials[uuid]
        thinner, observations = Thinner.after(scored([*known, *missing]), trial.total_agent_steps)
        self._thinners[uuid] = thinner
        filled = replace(
            trial,
            curve=tuple(observations),
            agent_steps=missing[-1].agent_steps,
            cost_seconds=missing[-1].cost_seconds,
            score=observations[-1].score if observations else trial.score,
        )
        self._keep(filled)
        now = self._clock.now()

        def write(connection: Connection) -> None:
            append_points(connection, uuid, missing)
            optuna_rows.write_observations(
                connection, self._ids[uuid], filled.curve, filled.total_agent_steps
            )
            self._update_row(connection, filled, now)

        self.writer.put(write)

    # --- the study itself ----------------------------------------------------------------------------------------

    def describe(self, attributes: Mapping[str, object]) -> None:
        """Set notes of the study, for our readers and for the dashboard."""

        def write(connection: Connection) -> None:
            mine = STUDIES.c.uuid == self.study.uuid
            known = json.loads(connection.execute(select(STUDIES.c.attributes).where(mine)).scalar_one())
            merged = json.dumps({**known, **attributes}, default=str)
            connection.execute(update(STUDIES).where(mine).values(attributes=merged))
            optuna_rows.write_study_attributes(connection, self.study.study_id, attributes)

        self.writer.put(write)

    def set_max_runs(self, max_runs: int | None) -> None:
        """Set the budget."""

        def write(connection: Connection) -> None:
            mine = update(STUDIES).where(STUDIES.c.uuid == self.study.uuid)
            connection.execute(mine.values(max_runs=max_runs))
            optuna_rows.write_study_attributes(connection, self.study.study_id, {"max_runs": max_runs})

        self.writer.put(write)

    def tick(self) -> None:
        """Do what is due: write progress, give a sign of life, count the time; raises what has stopped the writer.

        Raises:
            SweepError: the study is gone, its lock is lost, or the database refuses.
        """
        self.writer.check()
        now = self._clock.monotonic()
        if now - self._flushed_at >= FLUSH_INTERVAL_SECONDS and not self.writer.blocked:
            self._flushed_at = now
            for uuid in list(self._unwritten):
                self._write_progress(uuid)
        if self._tenure.is_due():
            self.writer.put(self._tenure.beat())

    def close(self) -> None:
        """Write everything, give the lock back and end the writer.

        Raises:
            SweepError: it could not be written.
        """
        try:
            for uuid in list(self._unwritten):
                self._write_progress(uuid)
            self.writer.put(self._tenure.beat())
            self.writer.call(self._tenure.give_back)
        finally:
            self.writer.close()

    def abandon(self, *, gone: bool) -> None:
        """End after an error: running trials go back into the queue, as far as they can still be written.

        Args:
            gone: the study is no longer there, or the database out of reach: nothing is written.
        """
        if gone:
            self.writer.close(abandon=True)
            return
        try:
            for trial in self.in_state(TrialState.RUNNING):
                self.change(trial.uuid, TrialState.QUEUED)
            self.close()
        except SweepError:
            # The error that has ended the sweep is the one to tell; the next start recovers what this could not.
            self.writer.close(abandon=True)

    def clear_away(self) -> None:
        """Remove what is left of the trials of a study that somebody has deleted; the writer has ended.

        Raises:
            StorageError: the database refuses.
        """
        try:
            with self.study.engine.begin() as connection:
                optuna_rows.remove_trials(connection, list(self._trials))
        except DatabaseError as error:
            raise storage_error(error, self.study.path) from error

    # --- inside --------------------------------------------------------------------------------------------------

    def _keep(self, trial: Trial) -> None:
        """Take a snapshot into the view; the sums over all trials follow."""
        old = self._trials.get(trial.uuid)
        self._cost_seconds += trial.cost_seconds - (old.cost_seconds if old is not None else 0.0)
        if old is None or old.state is not trial.state or old.attributes is not trial.attributes:
            self._num_started = None
        self._trials[trial.uuid] = trial

    def _write_progress(self, uuid: str) -> None:
        unwritten = self._unwritten.pop(uuid, None)
        if unwritten is None:
            return
        trial, now = self._trials[uuid], self._clock.now()

        def write(connection: Connection) -> None:
            append_points(connection, uuid, unwritten.points)
            optuna_rows.add_observations(
                connection, self._ids[uuid], unwritten.observations, trial.total_agent_steps
            )
            self._update_row(connection, trial, now)

        self.writer.put(write)

    def _update_row(self, connection: Connection, trial: Trial, now: float) -> None:
        row = trial_row(trial, study_uuid=self.study.uuid, trial_id=self._ids[trial.uuid], changed_at=now)
        connection.execute(update(TRIALS).where(TRIALS.c.uuid == trial.uuid).values(row))

    def _touch(self, connection: Connection, now: float) -> None:
        connection.execute(update(STUDIES).where(STUDIES.c.uuid == self.study.uuid).values(changed_at=now))
