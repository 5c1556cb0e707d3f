"""The store: curves, rows, locks, requests, and databases that are not as they should be."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sqlalchemy import create_engine, select

from sweeper.clock import VirtualClock
from sweeper.errors import StorageError, StudyLockedError, StudyMismatchError, StudyNotFoundError
from sweeper.records import CurvePoint, TrialState
from sweeper.store import RequestKind, StudySpec, open_store
from sweeper.store import lock as locks
from sweeper.store.curves import append_points, cut_curve, decode_points, encode_points, read_curves
from sweeper.store.ledger import Ledger
from sweeper.store.sqlite import back_up, backup_path, check_file
from sweeper.store.tables import CURVES, METADATA, SCHEMA, ensure_schema, schema_version
from trainer.errors import FailureKind

DISTRIBUTIONS = {
    "train.gamma": FloatDistribution(0.8, 0.9999),
    "train.update_epochs": IntDistribution(1, 8),
    "train.optimizer": CategoricalDistribution(["adam", "muon"]),
}
VALUES = {"train.gamma": 0.997, "train.update_epochs": 3, "train.optimizer": "muon"}


def spec(tmp_path, name="night", **changes):
    content = {
        "name": name,
        "goals": ("maximize",),
        "objectives": ("score",),
        "metric": "score",
        "space": {"train.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.9999}},
        "settings": {"train.total_timesteps": 1000, "env.size": (84, 84)},
        "config": "[train]\n",
        "artifacts_folder": tmp_path,
        "environment": "atari/breakout",
    }
    return StudySpec(**{**content, **changes})


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(tmp_path, clock):
    made = open_store(tmp_path / "studies.db", clock=clock)
    yield made
    made.close()


@pytest.fixture
def study(store, tmp_path):
    return store.create(spec(tmp_path))


@pytest.fixture
def ledger(study, clock):
    made = Ledger(study, clock)
    yield made
    made.writer.close()


def add(ledger, values=VALUES, **options):
    return ledger.add(
        values,
        distributions=DISTRIBUTIONS,
        describe=lambda number: {"seed": number},
        total_agent_steps=1000,
        **options,
    )


def points(*steps):
    return [CurvePoint(s, s / 10, float(s), {"losses/kl": s / 7}) for s in steps]


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
        ledger.backfill(trial.uuid, points(10, 20, 30, 40))
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


class TestLocks:
    def test_a_living_holder_is_respected_and_named(self, study, ledger, clock):
        with pytest.raises(StudyLockedError, match=f"process {os.getpid()} on"):
            Ledger(study, clock)
        with pytest.raises(StudyLockedError):
            study.refuse_if_locked()
        info = study.lock_info()
        assert (info.pid, info.alive) == (os.getpid(), True)
        ledger.close()
        assert study.lock_info() is None
        Ledger(study, clock).close()

    @pytest.mark.parametrize("change", ["pid", "started_at", "silent"])
    def test_a_holder_that_is_gone_is_not(self, study, clock, change):
        me = locks.this_process()
        gone = {
            "pid": locks.Holder(me.host, me.machine, 2**22 + 5, me.started_at),
            "started_at": locks.Holder(me.host, me.machine, me.pid, me.started_at - 50.0),
            "silent": locks.Holder("elsewhere", "another", 1, 0.0),
        }[change]
        first = Ledger(study, clock, holder=gone)
        clock.advance(locks.SILENT_SECONDS + 1)
        assert not study.lock_info().alive
        second = Ledger(study, clock)
        clock.advance(locks.BEAT_INTERVAL_SECONDS + 1)
        first.tick()
        with pytest.raises(StudyLockedError, match="taken over"):
            first.writer.flush()
        first.writer.close()
        second.close()

    def test_a_holder_on_another_machine_counts_as_long_as_it_gives_signs(self, study, clock):
        far = Ledger(study, clock, holder=locks.Holder("elsewhere", "another", 1, 0.0))
        for _ in range(30):
            clock.advance(locks.BEAT_INTERVAL_SECONDS + 1)
            far.tick()
        far.writer.flush()
        with pytest.raises(StudyLockedError, match="elsewhere"):
            Ledger(study, clock)
        far.close()


class TestStudies:
    def test_open_create_list_delete(self, store, study, tmp_path, clock):
        assert store.open("night").uuid == study.uuid
        assert store.create(spec(tmp_path)).uuid == study.uuid
        clock.advance(10.0)
        store.create(spec(tmp_path, "day"))
        assert [info.name for info in store.studies()] == ["day", "night"]
        assert store.latest() == "day"
        with pytest.raises(StudyNotFoundError, match="It has day, night"):
            store.open("dawn")
        store.delete("day")
        assert store.latest() == "night"
        with pytest.raises(StudyNotFoundError, match="no trial of this number"):
            study.trial(7)

    def test_differences_are_all_told(self, store, study, tmp_path):
        changed = spec(
            tmp_path,
            space={
                "train.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.99},
                "train.ent_coef": {"distribution": "log_normal", "min": 1e-5, "max": 0.1},
            },
            settings={"train.total_timesteps": 2000, "env.size": [84, 84], "env.new": 1},
        )
        with pytest.raises(StudyMismatchError) as caught:
            store.create(changed)
        text = str(caught.value)
        assert "sweep.train.gamma.max was 0.9999 and is 0.99." in text
        assert "sweep.train.ent_coef is searched now and was not before." in text
        assert "train.total_timesteps was 1000 and is 2000." in text
        assert "env.new is set now" in text
        assert "env.size" not in text

    def test_somebody_else_s_optuna_study_is_left_alone(self, store, tmp_path):
        optuna.create_study(study_name="theirs", storage=store.url)
        with pytest.raises(StudyMismatchError, match="not made by puffer-sweep"):
            store.create(spec(tmp_path, "theirs"))
        with pytest.raises(StudyNotFoundError):
            store.open("theirs")

    def test_rows_of_studies_deleted_elsewhere_are_dropped(self, store, study, ledger):
        trial = add(ledger)
        ledger.report(trial.uuid, points(10)[0])
        ledger.close()
        optuna.delete_study(study_name="night", storage=store.url)
        assert store.studies() == []
        assert store.purge() == 1
        with closing(sqlite3.connect(store.path)) as connection:
            for table in ("sweep_trials", "sweep_curves", "sweep_studies", "sweep_locks"):
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table

    def test_a_request_is_not_heard_again_while_its_answer_is_on_its_way(self, study, ledger, monkeypatch):
        study.request(RequestKind.EXTEND, {"runs": 5})
        monkeypatch.setattr(ledger.writer, "put", lambda write: None)
        (request,) = ledger.inbox.read()
        ledger.inbox.answer(request, "Done.")
        assert ledger.inbox.read() == []

    def test_a_request_is_heard_without_waiting_for_the_database(self, study, ledger):
        study.request(RequestKind.EXTEND, {"runs": 5})
        assert ledger.inbox.hear() == []
        ledger.writer.flush()
        (request,) = ledger.inbox.hear()
        assert request.argument == {"runs": 5}
        ledger.inbox.answer(request, "Done.")
        ledger.writer.flush()
        assert ledger.inbox.hear() == []

    def test_requests_are_heard_in_order(self, study, ledger):
        study.request(RequestKind.EXTEND, {"runs": 5})
        study.request(RequestKind.STOP)
        first, second = ledger.inbox.read()
        assert (first.kind, first.argument, second.kind) == (
            RequestKind.EXTEND,
            {"runs": 5},
            RequestKind.STOP,
        )
        ledger.inbox.answer(first, "Done.")
        ledger.writer.flush()
        assert [r.kind for r in study.requests()] == [RequestKind.STOP]
        assert study.requests(open_only=False)[0].answer == "Done."


class TestDatabases:
    def test_missing_is_refused_for_readers_and_not_made(self, tmp_path):
        with pytest.raises(StorageError, match="no database here"):
            open_store(tmp_path / "none.db", must_exist=True)
        assert not list(tmp_path.iterdir())

    def test_a_folder_a_text_and_a_foreign_database_are_refused(self, tmp_path):
        with pytest.raises(StorageError, match="is a folder"):
            open_store(tmp_path)
        text = tmp_path / "notes.db"
        text.write_text("Dear diary, this is no database at all.", encoding="utf-8")
        with pytest.raises(StorageError, match="no SQLite database"):
            open_store(text)
        foreign = tmp_path / "songs.db"
        with closing(sqlite3.connect(foreign)) as connection:
            connection.execute("CREATE TABLE songs (title)")
            connection.commit()
        with pytest.raises(StorageError, match="another program"):
            open_store(foreign)

    def test_a_truncated_database_is_refused_with_the_way_to_the_backup(self, store, study, ledger):
        for _ in range(40):
            add(ledger)
        ledger.close()
        store.close()
        back_up(store.path)
        data = store.path.read_bytes()
        store.path.write_bytes(data[: len(data) // 2])
        with pytest.raises(StorageError, match=rf"damaged: .*cp '{backup_path(store.path)}'"):
            open_store(store.path, thorough=True)
        store.path.write_bytes(backup_path(store.path).read_bytes())
        check_file(store.path, thorough=True)
        again = open_store(store.path, thorough=True)
        assert len(again.open("night").trials()) == 40
        again.close()

    def test_flipped_bytes_are_found(self, store, study, ledger):
        for _ in range(40):
            add(ledger)
        ledger.close()
        store.close()
        data = bytearray(store.path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 4096] = os.urandom(4096)
        store.path.write_bytes(data)
        with pytest.raises(StorageError, match="damaged"):
            open_store(store.path, thorough=True)

    def test_a_newer_schema_is_refused_and_an_older_one_migrated(self, store):
        engine = create_engine(store.url)
        with engine.begin() as connection:
            connection.execute(SCHEMA.update().values(version=99, written_by="9.9"))
        with pytest.raises(StorageError, match=r"puffer-sweep 9\.9, which is newer"):
            open_store(store.path, must_exist=True)
        with engine.begin() as connection:
            connection.execute(SCHEMA.update().values(version=1))
        steps = []
        migrations = {2: lambda c: steps.append(2), 3: lambda c: steps.append(3)}
        ensure_schema(engine, migrations=migrations, version=3)
        ensure_schema(engine, migrations=migrations, version=3)
        with engine.connect() as connection:
            assert (steps, schema_version(connection)) == ([2, 3], 3)
        engine.dispose()

    def test_an_optuna_database_without_our_tables(self, tmp_path):
        path = tmp_path / "optuna.db"
        optuna.create_study(study_name="theirs", storage=f"sqlite:///{path}")
        with pytest.raises(StorageError, match="never been used"):
            open_store(path, must_exist=True)
        store = open_store(path)
        assert store.studies() == []
        store.close()

    def test_urls(self, tmp_path):
        store = open_store(f"sqlite:///{tmp_path}/a.db")
        assert store.path == tmp_path / "a.db"
        store.close()
        with pytest.raises(StorageError, match="no URL"):
            open_store("postgresql//:nonsense://")

    def test_a_backup_of_a_live_database_is_whole(self, store, study, ledger):
        add(ledger)
        ledger.writer.flush()
        copy = back_up(store.path)
        check_file(copy, thorough=True)
        with closing(sqlite3.connect(copy)) as connection:
            (text,) = connection.execute("SELECT parameters FROM sweep_trials").fetchone()
        assert json.loads(text) == VALUES
        ledger.close()
