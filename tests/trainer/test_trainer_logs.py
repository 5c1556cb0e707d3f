"""Learning curves in files."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from trainer.errors import MissingExtraError, PufferError
from trainer.logs import JsonLinesLog, TensorBoardLog, read_lines
from trainer.metrics import UsageMeter
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


def test_a_log_that_was_never_written_to_leaves_nothing(tmp_path) -> None:
    for log in (JsonLinesLog(tmp_path / "logs" / "progress.jsonl"), TensorBoardLog(tmp_path / "events")):
        log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_overwrites_what_lies_beyond_its_checkpoint(tmp_path) -> None:
    path = tmp_path / "progress.jsonl"
    log = JsonLinesLog(path)
    for epoch in range(1, 6):
        log.write(progress(epoch))
    log.close()
    with path.open("a") as file:
        file.write('{"epoch": 6, "agent_st')
    log = JsonLinesLog(path, from_steps=3 * 64)
    log.write(progress(4, score=9.0))
    log.close()
    assert [(line["epoch"], line["score"]) for line in read_lines(path)] == [(1, 1), (2, 1), (3, 1), (4, 9)]


def test_a_new_run_begins_its_log_anew(tmp_path) -> None:
    path = tmp_path / "progress.jsonl"
    for epochs in (3, 1):
        log = JsonLinesLog(path)
        for epoch in range(1, epochs + 1):
            log.write(progress(epoch))
        log.close()
    assert [line["epoch"] for line in read_lines(path)] == [1]


@pytest.mark.parametrize(
    "content", ["[base]\nenv_name = x\n", "precious", "[1]\n", '{"a": 1}\n', b"\xff\xfe\x00", "{}\n{"]
)
def test_a_file_that_is_no_log_is_left_as_it_is(tmp_path, content) -> None:
    path = tmp_path / "precious.txt"
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(raw)
    with pytest.raises(PufferError, match="no log of a run"):
        JsonLinesLog(path)
    assert path.read_bytes() == raw


def test_places_that_cannot_be_written_are_said(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PufferError, match="cannot be read"):
        JsonLinesLog(tmp_path)
    for log in (
        JsonLinesLog(tmp_path / "new" / ".." / "file" / "x.jsonl"),
        TensorBoardLog(tmp_path / "file"),
    ):
        with pytest.raises(PufferError, match="cannot be"):
            log.write(progress(1))
        log.close()


def test_tensorboard_gets_every_metric(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    log = TensorBoardLog(tmp_path)
    log.write(progress(1))
    log.write(progress(2, score=None))
    log.close()
    assert scalars(tmp_path, "losses/policy") == [(64, 0.25), (128, 0.25)]
    assert scalars(tmp_path, "score") == [(64, 1.0)]
    assert scalars(tmp_path, "steps_per_second") == [(64, 128.0), (128, 128.0)]


def test_tensorboard_hides_what_a_resumed_run_does_again(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    log = TensorBoardLog(tmp_path)
    for epoch in range(1, 6):
        log.write(progress(epoch))
    log.close()
    log = TensorBoardLog(tmp_path, from_steps=3 * 64)
    log.write(progress(4, score=9.0))
    log.close()
    assert scalars(tmp_path, "score") == [(64, 1), (128, 1), (192, 1), (256, 9)]


def scalars(folder, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard_that_is_missing_names_its_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"puffer-sweep\[tensorboard\]"):
        TensorBoardLog(tmp_path)


def test_lines_are_json_even_to_strict_readers(tmp_path) -> None:
    log = JsonLinesLog(tmp_path / "a.jsonl")
    log.write(progress(1))
    log.close()
    json.loads((tmp_path / "a.jsonl").read_text(), parse_constant=lambda name: pytest.fail(name))


class TestUsage:
    def test_cores_and_memory(self) -> None:
        usage = UsageMeter(torch.device("cpu")).measure(3.0, 2.0)
        assert usage["usage/processors"] == 1.5
        assert usage["usage/memory_bytes"] > 1e7
        assert not [name for name in usage if "device" in name]

    def test_short_epochs_share_one_reading(self, monkeypatch) -> None:
        now, readings = [0.0], []
        meter = UsageMeter(torch.device("cpu"), clock=lambda: now[0])
        monkeypatch.setattr(meter, "_read", lambda: readings.append(1) or {})
        for now[0] in (0.0, 0.4, 0.9, 1.0, 1.9, 2.1):
            meter.measure(1.0, 1.0)
        assert len(readings) == 3

    @pytest.mark.parametrize("fault", [None, ModuleNotFoundError("nvidia-ml-py"), RuntimeError("no driver")])
    def test_what_the_device_does(self, monkeypatch, fault) -> None:
        asked = []

        def utilisation(device) -> int:
            asked.append(device)
            if fault is not None:
                raise fault
            return 80

        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
        monkeypatch.setattr(torch.cuda, "utilization", utilisation)
        now = [0.0]
        meter = UsageMeter(torch.device("cuda"), clock=lambda: now[0])
        first = meter.measure(1.0, 1.0)
        now[0] = 5.0
        assert meter.measure(1.0, 1.0).keys() == first.keys()
        assert first["usage/device_memory_bytes"] == 1000.0
        assert first.get("usage/device_share") == (0.8 if fault is None else None)
        # What is not there is not asked for again.
        assert len(asked) == (2 if fault is None else 1)
