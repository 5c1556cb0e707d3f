"""Learning curves in files."""

from __future__ import annotations

import pytest

from trainer.logs import JsonLinesLog, TensorBoardLog, read_lines
from trainer.records import Progress


def progress(epoch: int, score: float | None = 1.0) -> Progress:
    return Progress(epoch, 10, epoch * 64, 640, epoch * 0.5, 128.0, score, {"losses/policy": 0.25})


def test_every_epoch_is_a_line(tmp_path) -> None:
    path = tmp_path / "logs" / "progress.jsonl"
    log = JsonLinesLog(path)
    log.write(progress(1))
    log.write(progress(2, score=None))
    log.close()
    first, second = read_lines(path)
    assert first["epoch"] == 1
    assert first["score"] == 1.0
    assert first["losses/policy"] == 0.25
    assert second["score"] is None


def test_a_resumed_run_overwrites_what_lies_beyond_its_checkpoint(tmp_path) -> None:
    path = tmp_path / "progress.jsonl"
    log = JsonLinesLog(path)
    for epoch in range(1, 6):
        log.write(progress(epoch))
    log.close()
    with path.open("a") as file:
        file.write('{"epoch": 6, "agent_st')
    log = JsonLinesLog(path, from_epoch=3)
    log.write(progress(4, score=9.0))
    log.close()
    assert [(line["epoch"], line["score"]) for line in read_lines(path)] == [(1, 1), (2, 1), (3, 1), (4, 9)]


def test_tensorboard_gets_every_metric(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLog(tmp_path)
    log.write(progress(1))
    log.write(progress(2, score=None))
    log.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"losses/policy", "score", "steps_per_second"}
    assert [(event.step, event.value) for event in events.Scalars("losses/policy")] == [
        (64, 0.25),
        (128, 0.25),
    ]
