"""What runs in a worker, with the real trainer: scores, verdicts, checkpoints, failures."""

from __future__ import annotations

import errno
import threading
import uuid
from dataclasses import replace

import pytest
from planted_config import planted_config

from sweeper.failures import failure_kind
from sweeper.folder import read_curve_file
from sweeper.records import Assignment, Ending, Observation, Reported, Started, Verdict
from sweeper.seeds import evaluation_seed
from sweeper.trial import Runner, survey
from trainer.config import resolve
from trainer.errors import (
    CheckpointError,
    ConfigError,
    EnvironmentFault,
    FailureKind,
    MemoryExhaustedError,
    NotFiniteError,
)


class Line:
    """The sweep's side: collects events and answers from a list."""

    def __init__(self, *verdicts):
        self.events, self.verdicts, self.beats = [], list(verdicts), 0

    def send(self, event):
        self.events.append(event)

    def verdict(self, *, wait):
        if wait:
            return self.verdicts.pop(0) if self.verdicts else Verdict.CONTINUE
        return None

    def beat(self):
        self.beats += 1

    @property
    def reports(self):
        return [event for event in self.events if isinstance(event, Reported)]


@pytest.fixture(scope="module")
def runner():
    made = Runner()
    yield made
    made.close()


SMALL = ("--vec.num-envs", "4", "--train.total-timesteps", "2560", "--train.batch-size", "256")


def assign(folder, *settings, **changes):
    config = planted_config(*SMALL, *settings)
    found = survey(config)
    config = resolve(config, found.environment, found.cuda_available).config
    return Assignment(str(uuid.uuid4()), 0, config, folder, 1, **changes)


def test_a_whole_run(runner, tmp_path):
    line = Line()
    assignment = assign(tmp_path)
    finished = runner.run(assignment, line)
    assert isinstance(line.events[0], Started)
    assert finished.ending is Ending.COMPLETE
    steps = [report.agent_steps for report in line.reports]
    assert steps == sorted(set(steps))
    last = [r.score for r in line.reports if r.score is not None and r.agent_steps > 2560 * 0.9]
    assert finished.score == pytest.approx(sum(last) / len(last))
    assert finished.agent_steps == steps[-1]
    assert finished.checkpoint is not None
    assert {"device", "torch"} <= set(finished.facts)
    assert [p.agent_steps for p in read_curve_file(tmp_path)] == steps
    assert line.beats > len(steps)


def outline(reports):
    return [(r.epoch, r.agent_steps, r.score, r.metrics["losses/policy"]) for r in reports]


@pytest.mark.parametrize("backend", ["Serial", "PufferEnv"])
def test_a_run_that_was_paused_can_be_repeated_bit_for_bit(runner, tmp_path, backend):
    first = Line(Verdict.CONTINUE, Verdict.PAUSE)
    assignment = assign(tmp_path / "parts", "--vec.backend", backend)
    paused = runner.run(assignment, first)
    assert (paused.ending, paused.score) == (Ending.PAUSED, None)
    earlier = tuple(
        Observation(r.agent_steps, r.cost_seconds, r.score) for r in first.reports if r.score is not None
    )
    second = Line()
    ended = runner.run(replace(assignment, resume_from=paused.checkpoint, earlier=earlier), second)
    assert (second.events[0].agent_steps, second.events[0].epoch) == (paused.agent_steps, 2)
    assert ended.ending is Ending.COMPLETE
    curve = [p.agent_steps for p in read_curve_file(tmp_path / "parts")]
    assert curve == [r.agent_steps for r in first.reports + second.reports]
    whole = Line()
    again = assign(tmp_path / "whole", "--vec.backend", backend, "--train.restarts", "[2]")
    assert runner.run(again, whole).score == ended.score
    assert outline(whole.reports) == outline(first.reports + second.reports)


def test_a_broken_checkpoint_falls_back_to_an_older_one_or_to_the_beginning(runner, tmp_path):
    assignment = assign(tmp_path, "--train.checkpoint-interval", "2")
    paused = runner.run(assignment, Line(*[Verdict.CONTINUE] * 5, Verdict.PAUSE))
    newest, *older = sorted((tmp_path / "checkpoints").glob("*.pt"), reverse=True)
    assert older
    newest.write_bytes(newest.read_bytes()[:100])
    line = Line()
    again = replace(assignment, resume_from=paused.checkpoint)
    assert runner.run(again, line).ending is Ending.COMPLETE
    assert 0 < line.events[0].agent_steps < paused.agent_steps
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        path.write_bytes(b"nothing")
    line = Line()
    assert runner.run(again, line).ending is Ending.COMPLETE
    assert line.events[0].agent_steps == 0


def test_stop_is_for_good(runner, tmp_path):
    finished = runner.run(assign(tmp_path), Line(Verdict.STOP))
    assert (finished.ending, finished.score) == (Ending.STOPPED, None)


def test_it_asks_at_the_pause_point(runner, tmp_path):
    line = Line()
    runner.run(assign(tmp_path, pause_at=900), line)
    first = next(r for r in line.reports if r.agent_steps >= 900)
    assert first.wants_verdict
    assert not line.reports[-1].wants_verdict


@pytest.mark.parametrize("rule", ["eval", "auc"])
def test_score_rules(runner, tmp_path, rule):
    finished = runner.run(assign(tmp_path, "--sweep.score-rule", rule, "--sweep.eval-episodes", "3"), Line())
    assert finished.ending is Ending.COMPLETE
    if rule == "eval":
        assert finished.score == finished.evaluation["mean"]
        assert len(finished.evaluation["scores"]) == 3


def test_without_a_finished_episode_the_evaluation_decides(runner, tmp_path):
    settings = ("--train.total-timesteps", "32", "--train.batch-size", "16", "--train.bptt-horizon", "4")
    sizes = ("--train.minibatch-size", "16", "--sweep.eval-episodes", "2")
    line = Line()
    finished = runner.run(assign(tmp_path, *settings, *sizes), line)
    assert [r.score for r in line.reports] == [None] * len(line.reports)
    assert finished.ending is Ending.COMPLETE
    assert finished.score == finished.evaluation["mean"] > 0


def test_failures_are_outcomes(runner, tmp_path):
    finished = runner.run(assign(tmp_path, "--train.learning-rate", "1e30"), Line())
    assert (finished.ending, finished.failure_kind) == (Ending.FAILED, FailureKind.NOT_FINITE)
    assert finished.score is None
    assert "Traceback" in finished.traceback
    again = runner.run(assign(tmp_path / "again"), Line())
    assert again.ending is Ending.COMPLETE


def test_kinds_of_failures():
    assert failure_kind(EnvironmentFault("x")) is FailureKind.ENVIRONMENT
    assert failure_kind(NotFiniteError("x")) is FailureKind.NOT_FINITE
    assert failure_kind(CheckpointError("x")) is FailureKind.CHECKPOINT
    assert failure_kind(ConfigError("x")) is FailureKind.CONFIG
    assert failure_kind(MemoryExhaustedError("x", on_device=True)) is FailureKind.OUT_OF_DEVICE_MEMORY
    assert failure_kind(MemoryError()) is FailureKind.OUT_OF_MEMORY
    assert failure_kind(OSError(errno.ENOSPC, "No space left on device")) is FailureKind.CHECKPOINT
    assert failure_kind(OSError(errno.EACCES, "Permission denied")) is FailureKind.CRASH
    assert failure_kind(RuntimeError("x")) is FailureKind.CRASH


def test_evaluations_have_seeds_of_their_own():
    assert evaluation_seed(42) != evaluation_seed(43)


def test_nothing_is_left_running(runner):
    assert threading.active_count() < 20
