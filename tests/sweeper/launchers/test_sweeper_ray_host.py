"""What a Ray actor's process sends of a folder that is its own: beside a trial that writes and ends."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sweeper.launchers import ray_host
from sweeper.launchers.ray_host import MARK_FILE, Outbox, TrialHost
from sweeper.records import Assignment, Ending, Finished


def write_checkpoint(folder, epoch, content=b"weights"):
    path = folder / "checkpoints" / f"epoch-{epoch:06d}.pt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def outbox(tmp_path):
    (tmp_path / "curve.jsonl").write_text("curve")
    return Outbox(tmp_path)


class TestOutbox:
    def test_nothing_without_a_checkpoint(self, outbox):
        assert outbox.collect() == {}

    def test_what_is_new_once(self, outbox, tmp_path):
        write_checkpoint(tmp_path, 1)
        assert outbox.collect() == {"checkpoints/epoch-000001.pt": b"weights", "curve.jsonl": b"curve"}
        assert outbox.collect() == {}
        write_checkpoint(tmp_path, 2)
        assert "checkpoints/epoch-000002.pt" in outbox.collect()

    def test_a_checkpoint_that_makes_room_meanwhile(self, outbox, tmp_path, monkeypatch):
        write_checkpoint(tmp_path, 1)
        newest = ray_host.newest_checkpoint

        def newest_and_then_another(folder):
            found = newest(folder)
            if found is not None and "000001" in found.name:
                write_checkpoint(folder, 2, b"newer")
                found.unlink()
            return found

        monkeypatch.setattr(ray_host, "newest_checkpoint", newest_and_then_another)
        assert outbox.collect()["checkpoints/epoch-000002.pt"] == b"newer"

    def test_the_folder_is_let_go_only_when_nobody_reads_it(self, outbox, tmp_path, monkeypatch):
        """The end of a trial removes the folder while another thread may be looking for news in it."""
        write_checkpoint(tmp_path, 1)
        newest, looking, go_on = ray_host.newest_checkpoint, threading.Event(), threading.Event()
        told, closed = [], threading.Event()

        def newest_slowly(folder):
            looking.set()
            assert go_on.wait(60)
            return newest(folder)

        def end():
            outbox.close()
            closed.set()

        monkeypatch.setattr(ray_host, "newest_checkpoint", newest_slowly)
        news = threading.Thread(target=lambda: told.append(outbox.collect()))
        news.start()
        assert looking.wait(60)
        ending = threading.Thread(target=end)
        ending.start()
        assert not closed.is_set()
        go_on.set()
        news.join(60)
        ending.join(60)
        told.append(outbox.collect())
        assert [len(files) for files in told] == [2, 0], "whoever looked first has the files, once"

    def test_nothing_is_read_once_closed(self, outbox, tmp_path):
        write_checkpoint(tmp_path, 1)
        outbox.close()
        write_checkpoint(tmp_path, 2)
        assert list(outbox.collect()) == ["checkpoints/epoch-000001.pt", "curve.jsonl"]
        assert outbox.collect() == {}


class QuickServant:
    """Writes a checkpoint and ends at once."""

    def warm_up(self):
        pass

    def run(self, assignment, channel):
        checkpoint = write_checkpoint(assignment.folder, 1)
        return Finished(
            uuid=assignment.uuid,
            ending=Ending.PAUSED,
            score=None,
            agent_steps=1,
            cost_seconds=0.0,
            checkpoint=checkpoint,
        )


def test_news_beside_trials_that_end_at_once(tmp_path):
    """Two threads, hundreds of trials: each ends as it should and its checkpoint arrives."""
    host = TrialHost(f"{__name__}:QuickServant")
    for number in range(300):
        assignment = Assignment(
            uuid=str(number), number=number, config=None, num_threads=1, folder=tmp_path / "elsewhere"
        )
        run = threading.Thread(target=host.run, args=(assignment, {}, "no such mark"))
        run.start()
        files, events = {}, []
        while not events:
            news = host.news(assignment.uuid, 0.0)
            files |= news.files
            events += news.events
        run.join()
        assert events[0].checkpoint == assignment.folder / "checkpoints" / "epoch-000001.pt"
        assert files["checkpoints/epoch-000001.pt"] == b"weights"


def test_a_shared_folder_is_used_as_it_is(tmp_path):
    (tmp_path / MARK_FILE).write_text("mark")
    host = TrialHost(f"{__name__}:QuickServant")
    host.run(Assignment(uuid="a", number=0, config=None, num_threads=1, folder=tmp_path), {}, "mark")
    news = host.news("a", 0.0)
    assert news.files == {}
    assert Path(news.events[0].checkpoint).read_bytes() == b"weights"
