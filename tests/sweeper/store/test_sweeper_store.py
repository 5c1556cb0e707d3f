"""The store: curves, and trials in both sets of tables."""

from __future__ import annotations

import threading
from dataclasses import replace

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from planted_ledger import DISTRIBUTIONS, VALUES, add, points, spec
from sqlalchemy import create_engine, select

from sweeper.errors import StorageError
from sweeper.records import CurvePoint, TrialState
from sweeper.store.curves import append_points, cut_curve, decode_points, encode_points, read_curves
from sweeper.store.ledger import Ledger
from sweeper.store.tables import CURVES, METADATA
from sweeper.store.writer import LARGEST_BATCH
from trainer.errors import FailureKind


class TestCurves:
    names = st.dictionaries(
        st.sampled_from(["a", "losses/kl", "environment/score"]),
        st.floats(allow_nan=False, allow_infinity=False),
    )
    curves = st.lists(
        st.tuples(
            st.integers(1, 2**50),
            st.floats(0, 1e9),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            names,
        ),
        max_size=30,
        unique_by=lambda row: row[0],
    )

    @given(curves)
    def test_points_come_back_as_they_were(self, rows):
        curve = [CurvePoint(*row) for row in sorted(rows, key=lambda row: row[0])]
        assert decode_points(encode_points(curve)) == curve

    @given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 80)), max_size=12))
    @settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
    def test_whatever_is_appended_each_step_stands_once_and_the_newest_word_counts(self, appends):
        engine = create_engine("sqlite://")
        METADATA.create_all(engine)
        expected = {}
        with engine.begin() as connection:
            for first, count in appends:
                fresh = [CurvePoint(first + i, 0.0, float(len(expected) + i), {}) for i in range(count)]
                expected = {s: p for s, p in expected.items() if s < first} | {
                    p.agent_steps: p for p in fresh
                }
                append_points(connection, "x", fresh)
            cut_curve(connection, "x", 150)
            found = read_curves(connection, ["x"]).get("x", [])
            chunks = connection.execute(select(CURVES.c.num_points)).scalars().all()
        engine.dispose()
        assert found == [expected[s] for s in sorted(expected) if s < 150]
        assert sum(chunks) == len(found)

    def test_damaged_bytes_are_refused(self):
        whole = encode_points(points(1, 2, 3))
        for broken in (b"", whole[:-3], b"x" + whole):
            with pytest.raises(StorageError, match="damaged"):
                decode_points(broken)


class TestLedger:
    def test_a_trial_s_life_is_the_same_in_both_tables(self, ledger, study):
        trial = add(ledger)
        ledger.begin_run(trial.uuid, 0)
        for point in points(*range(10, 1001, 10)):
            ledger.report(trial.uuid, point)
        ledger.change(
            trial.uuid,
            TrialState.COMPLETE,
            score=995.0,
            attributes={"device": "cpu", "evaluation": {"mean": 1.0}},
        )
        ledger.close()
        stored = study.trials()[0]
        assert stored == ledger.trial(trial.uuid)
        assert len(stored.curve) == 50
        assert study.curve(trial.uuid) == points(*range(10, 1001, 10))
        mirror = study.optuna_study.trials[0]
        assert mirror.params == VALUES
        assert mirror.distributions == DISTRIBUTIONS
        assert (mirror.value, mirror.state) == (995.0, optuna.trial.TrialState.COMPLETE)
        assert mirror.intermediate_values == {o.agent_steps: o.score for o in stored.curve}
        assert mirror.user_attrs["device"] == "cpu"
        assert mirror.user_attrs["score"] == 995.0
        assert mirror.datetime_complete >= mirror.datetime_start
        assert study.best() == stored

    def test_the_best_is_best_by_score_wherever_the_score_stands(self, store, clock, tmp_path):
        both = spec(tmp_path, name="both", objectives=("cost", "score"), goals=("minimize", "maximize"))
        study = store.create(both)
        ledger = Ledger(study, clock)
        for score in (1.0, 3.0, 2.0):
            ledger.change(add(ledger).uuid, TrialState.COMPLETE, score=score)
        ledger.close()
        assert (study.spec.goal, study.spec.sign) == ("maximize", 1)
        assert study.best().score == study.info().best_score == 3.0

    def test_a_quick_look_leaves_out_the_curves_of_ended_trials(self, ledger, study):
        ended, running = add(ledger), add(ledger)
        for trial in (ended, running):
            ledger.report(trial.uuid, CurvePoint(1000, 1.0, 0.5, {}))
        ledger.change(ended.uuid, TrialState.COMPLETE, score=0.5)
        ledger.change(running.uuid, TrialState.RUNNING)
        ledger.writer.flush()
        whole, quick = study.trials(), study.trials(ended_curves=False)
        assert quick == [replace(whole[0], curve=()), whole[1]]

    def test_going_on_from_a_checkpoint_forgets_what_lies_beyond(self, ledger, study):
        trial = add(ledger)
        for point in points(*range(10, 601, 10)):
            ledger.report(trial.uuid, point)
        ledger.change(trial.uuid, TrialState.QUEUED)
        ledger.change(trial.uuid, TrialState.RUNNING)
        resumed = ledger.begin_run(trial.uuid, 405, ledger.curve(trial.uuid))
        assert (resumed.agent_steps, resumed.cost_seconds) == (400, 40.0)
        assert resumed.curve[-1].agent_steps == 400
        for point in points(*range(411, 1001, 10)):
            ledger.report(trial.uuid, point)
        ledger.change(trial.uuid, TrialState.COMPLETE, score=1.0)
        ledger.close()
        steps = [p.agent_steps for p in study.curve(trial.uuid)]
        assert steps == [*range(10, 401, 10), *range(411, 1001, 10)]
        kept = [o.agent_steps for o in study.trials()[0].curve]
        assert kept == sorted(set(kept))
        assert list(study.optuna_study.trials[0].intermediate_values) == kept

    def test_beginning_anew_forgets_everything(self, ledger, study):
        trial = add(ledger)
        for point in points(10, 20, 30):
            ledger.report(trial.uuid, point)
        ledger.begin_run(trial.uuid, 0, ledger.curve(trial.uuid))
        ledger.report(trial.uuid, points(15)[0])
        ledger.close()
        assert [p.agent_steps for p in study.curve(trial.uuid)] == [15]
        assert study.trials()[0].agent_steps == 15

    def test_what_a_worker_had_noted_is_filled_in(self, ledger, study):
        trial = add(ledger)
        for point in points(10, 20):
            ledger.report(trial.uuid, point)
        ledger.backfill(trial.uuid, ledger.curve(trial.uuid), points(30, 40))
        assert ledger.trial(trial.uuid).agent_steps == 40
        ledger.close()
        assert [p.agent_steps for p in study.curve(trial.uuid)] == [10, 20, 30, 40]

    def test_pruned_failed_infeasible_and_paused(self, ledger, study):
        pruned, failed, paused = add(ledger), add(ledger), add(ledger)
        bad = add(ledger, state=TrialState.INFEASIBLE, failure_kind=FailureKind.CONFIG, failure_message="No.")
        ledger.report(pruned.uuid, points(500)[0])
        ledger.change(pruned.uuid, TrialState.PRUNED)
        ledger.change(
            failed.uuid, TrialState.FAILED, failure_kind=FailureKind.HANG, failure_message="Silent."
        )
        ledger.report(paused.uuid, points(500)[0])
        ledger.change(paused.uuid, TrialState.PAUSED)
        ledger.close()
        mirror = study.optuna_study.trials
        assert [t.state.name for t in mirror] == ["PRUNED", "FAIL", "WAITING", "FAIL"]
        assert mirror[0].value == 500.0
        assert mirror[1].user_attrs["failure_kind"] == "hang"
        assert mirror[2].user_attrs["phase"] == "paused"
        assert mirror[2].intermediate_values == {500: 500.0}
        assert mirror[3].user_attrs["failure_message"] == "No."
        assert study.trials()[3].state is bad.state
        assert ledger.num_started() == 3
        counts = study.info().counts
        assert counts == {
            TrialState.PRUNED: 1,
            TrialState.FAILED: 1,
            TrialState.PAUSED: 1,
            TrialState.INFEASIBLE: 1,
        }

    def test_a_trial_is_there_before_the_database_has_it(self, ledger, study):
        released = threading.Event()
        ledger.writer.put(lambda connection: released.wait(60.0))
        first, second = add(ledger), add(ledger)
        ledger.change(first.uuid, TrialState.COMPLETE, score=1.0)
        assert [trial.number for trial in ledger.trials()] == [0, 1]
        assert study.trials() == []
        released.set()
        ledger.writer.flush()
        assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE, TrialState.RUNNING]
        assert second == study.trials()[1]

    def test_what_waits_to_be_written_does_not_pile_up(self, ledger):
        most = 0
        for _ in range(400):
            trial = add(ledger)
            ledger.change(trial.uuid, TrialState.COMPLETE, score=1.0)
            most = max(most, ledger.writer.num_waiting)
        assert most <= LARGEST_BATCH + 2

    def test_trials_that_somebody_else_adds_to_optuna_take_their_numbers(self, ledger, study):
        foreign = optuna.trial.create_trial(
            params={"train.gamma": 0.9},
            distributions={"train.gamma": FloatDistribution(0.8, 0.9999)},
            value=1.0,
        )
        ours = [add(ledger)]
        ledger.writer.flush()
        study.optuna_study.add_trial(foreign)
        # In the moment before the writer has seen it, a number is there twice: once here, once in Optuna.
        ours.append(add(ledger))
        ledger.writer.flush()
        ours.append(add(ledger))
        ledger.writer.flush()
        assert [trial.number for trial in ours] == [0, 1, 3]
        assert [trial.number for trial in study.optuna_study.trials] == [0, 1, 2, 3]
        assert [trial.uuid for trial in study.trials()] == [trial.uuid for trial in ours]

    def test_steps_beyond_32_bits(self, ledger, study):
        trial = ledger.add(
            VALUES, distributions=DISTRIBUTIONS, describe=lambda n: {}, total_agent_steps=10_000_000_000
        )
        ledger.report(trial.uuid, points(5_000_000_000)[0])
        ledger.close()
        assert study.trials()[0].curve[0].agent_steps == 5_000_000_000
        assert list(study.optuna_study.trials[0].intermediate_values) == [5_000_000]
