"""Locks, studies, requests, and databases that are not as they should be."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing

import optuna
import pytest
from planted_ledger import VALUES, add, points, spec
from sqlalchemy import create_engine

from sweeper.errors import StorageError, StudyLockedError, StudyMismatchError, StudyNotFoundError
from sweeper.store import RequestKind, open_store, sqlite
from sweeper.store import lock as locks
from sweeper.store.ledger import Ledger
from sweeper.store.sqlite import back_up, backup_path, check_file
from sweeper.store.tables import SCHEMA, ensure_schema, schema_version


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

    @pytest.mark.parametrize(("kind", "told"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False)])
    def test_a_network_file_system_gets_a_sentence(self, tmp_path, monkeypatch, kind, told):
        place = tmp_path / "far away"
        place.mkdir()
        mounts = tmp_path / "mounts"
        escaped = str(place).replace(" ", "\\040")
        mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/home {escaped} {kind} rw 0 0\n", encoding="utf-8")
        monkeypatch.setattr(sqlite, "MOUNTS", mounts)
        store = open_store(place / "studies.db")
        assert [f"network file system ({kind})" in note for note in store.notes] == [True] * told
        store.close()

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
