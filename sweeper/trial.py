"""Runs in the worker: an Assignment in, events out, verdicts back. The sweeper's only door to the trainer.

Importing this module is cheap; torch and the environments are imported when something runs.
"""

from __future__ import annotations

import math
import os
import sys
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sweeper.failures import failure_kind, message_of
from sweeper.folder import CurveFile
from sweeper.kept_environment import KeptEnvironment
from sweeper.records import (
    Assignment,
    CurvePoint,
    Ending,
    Event,
    Finished,
    Observation,
    Reported,
    Verdict,
)
from sweeper.score import Thinner, final_score
from sweeper.seeds import evaluation_seed
from trainer.errors import (
    CheckpointError,
    NotFiniteError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainer.config import Config
    from trainer.envs.listing import Listed
    from trainer.logs import RunLog
    from trainer.recording import Recording
    from trainer.records import Directive, EnvironmentFacts, Evaluation, Progress, TrainResult
    from trainer.vector.base import VectorEnv


class Channel(Protocol):
    """The worker's end of the line to the sweep."""

    def send(self, event: Event) -> None:
        """Say something; what needs no answer may be held back a moment."""

    def verdict(self, *, wait: bool) -> Verdict | None:
        """What the sweep has said; None if it has said nothing (and `wait` is off)."""

    def beat(self) -> None:
        """A sign of life; called at every step, so it costs next to nothing."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What only a worker can find out: of the environment and of the machine that it runs on.

    Attributes:
        environment: facts of the environment.
        cuda_available: whether PyTorch sees a CUDA device.
    """

    environment: EnvironmentFacts
    cuda_available: bool


def survey(config: Config) -> Survey:
    """Make the environment and the agent once and look at the machine.

    Raises:
        PufferError: one of them cannot be made.
    """
    import torch

    from trainer.rehearsal import rehearse

    return Survey(rehearse(config), torch.cuda.is_available())


class Runner:
    """Runs one assignment after the other and keeps the environment warm between those that share it."""

    def __init__(self) -> None:
        self._kept = KeptEnvironment(_make_vector)

    def warm_up(self) -> None:
        """Import what every trial needs while nobody waits for it yet."""
        import torch

        import trainer.loop
        import trainer.vector  # noqa: F401

        # The first step of any optimiser imports half of torch's compiler.
        weight = torch.zeros(1, requires_grad=True)
        weight.grad = torch.ones(1)
        torch.optim.Adam([weight], fused=True).step()

    def survey(self, config: Config) -> Survey:
        """See `survey`."""
        return survey(config)

    def run(self, assignment: Assignment, channel: Channel) -> Finished:
        """Run a trial to its end, its pause or its failure. Never raises an Exception: failures are outcomes."""
        run = _Run(assignment, channel)
        try:
            return self._run(run)
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            return run.failed(error)
        finally:
            run.close()

    def close(self) -> None:
        """Close the environment that is kept warm."""
        self._kept.close()

    def _run(self, run: _Run) -> Finished:
        import trainer
        from trainer.records import RunStatus

        assignment = run.assignment
        resume_from = run.begin()
        config = assignment.config
        if assignment.resume_from is not None:
            # Earlier restarts lie behind it, or, after a broken checkpoint, never happen again.
            config = config.override({"train.restarts": ()})
        vector = self._kept.take(assignment)
        self._kept.foresee(assignment)
        result = trainer.train(
            config,
            run.on_progress,
            folder=assignment.folder,
            resume_from=resume_from,
            on_heartbeat=run.channel.beat,
            vector=vector,
        )
        endings = {
            RunStatus.COMPLETED: Ending.COMPLETE,
            RunStatus.PAUSED: Ending.PAUSED,
            RunStatus.STOPPED: Ending.STOPPED,
        }
        return run.finished(endings[result.status], result)


@dataclass(slots=True)
class _Run:
    """One run of one assignment."""

    assignment: Assignment
    channel: Channel
    curve: list[Observation] = field(default_factory=list)
    last: Progress | None = None
    began_at_steps: int = 0
    _thinner: Thinner | None = None
    _curve_file: CurveFile | None = None
    _pause_asked: bool = False

    def begin(self) -> Path | None:
        """Choose the checkpoint to go on from and forget what lies beyond it; None to begin anew."""
        checkpoint, steps, epoch = self._usable_checkpoint()
        self.began_at_steps = steps
        self._curve_file = CurveFile(self.assignment.folder, steps)
        self.curve = [point for point in self.assignment.earlier if point.agent_steps <= steps]
        self._thinner, _ = Thinner.after(self.curve, self.assignment.config.train.total_timesteps)
        from sweeper.records import Started

        self.channel.send(Started(self.assignment.uuid, os.getpid(), steps, epoch))
        return checkpoint

    def on_progress(self, progress: Progress) -> Directive:
        from trainer.records import Directive

        first = self.last is None
        self.last = progress
        if progress.score is not None and not math.isfinite(progress.score):
            raise NotFiniteError("The environment's metric is not finite.", value=progress.score)
        if self._curve_file is None or self._thinner is None:
            raise RuntimeError("the run has not begun")
        point = CurvePoint(
            progress.agent_steps, progress.uptime_seconds, progress.score, dict(progress.metrics)
        )
        self._curve_file.add(point)
        if progress.score is not None:
            self.curve.append(Observation(progress.agent_steps, progress.uptime_seconds, progress.score))
        _log(progress, first=first)
        observation = self._thinner.add(progress.agent_steps, progress.uptime_seconds, progress.score)
        complete = progress.agent_steps >= progress.total_agent_steps
        wants_verdict = not complete and (
            observation is not None or self._reaches_pause(progress.agent_steps)
        )
        self.channel.send(self._reported(progress, wants_verdict=wants_verdict))
        if complete:
            return Directive.CONTINUE
        verdict = self.channel.verdict(wait=wants_verdict)
        return {
            None: Directive.CONTINUE,
            Verdict.CONTINUE: Directive.CONTINUE,
            Verdict.PAUSE: Directive.PAUSE,
            Verdict.STOP: Directive.STOP,
        }[verdict]

    def finished(self, ending: Ending, result: TrainResult) -> Finished:
        """The last word about a run that has not failed."""
        config = self.assignment.config
        score: float | None = None
        evaluation: Mapping[str, object] | None = None
        if ending is Ending.COMPLETE:
            score = final_score(config.sweep.score_rule, self.curve, config.train.total_timesteps)
            if score is None:
                score, evaluation = self._evaluate(result)
        return Finished(
            uuid=self.assignment.uuid,
            ending=ending,
            score=score,
            agent_steps=result.agent_steps,
            cost_seconds=result.uptime_seconds,
            checkpoint=result.checkpoint,
            facts=dict(result.facts),
            evaluation=evaluation,
        )

    def failed(self, error: Exception) -> Finished:
        """The last word about a run that has failed."""
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the worker's stderr is the trial's log
        from sweeper.folder import log_tail, newest_checkpoint

        return Finished(
            uuid=self.assignment.uuid,
            ending=Ending.FAILED,
            score=None,
            agent_steps=self.last.agent_steps if self.last else self.began_at_steps,
            cost_seconds=self.last.uptime_seconds if self.last else 0.0,
            checkpoint=newest_checkpoint(self.assignment.folder),
            failure_kind=failure_kind(error),
            failure_message=message_of(error),
            traceback=text,
            log_tail=log_tail(self.assignment.folder),
        )

    def close(self) -> None:
        """Close the curve's file."""
        if self._curve_file is not None:
            self._curve_file.close()

    def _usable_checkpoint(self) -> tuple[Path | None, int, int]:
        """The newest checkpoint that can be read, from the one that was named on, its agent steps and its epoch."""
        if self.assignment.resume_from is None:
            return None, 0, 0
        from trainer.checkpoint import list_checkpoints, load_checkpoint

        named = self.assignment.resume_from
        older = [path for path in list_checkpoints(self.assignment.folder) if path < named]
        for path in (named, *reversed(older)):
            try:
                checkpoint = load_checkpoint(path)
            except CheckpointError as error:
                print(f"{error} Going on from an older one.", file=sys.stderr)  # noqa: T201 - the trial's log
            else:
                return path, checkpoint.agent_steps, checkpoint.epoch
        return None, 0, 0

    def _reaches_pause(self, agent_steps: int) -> bool:
        pause_at = self.assignment.pause_at
        if self._pause_asked or pause_at is None or agent_steps < pause_at:
            return False
        if not self.curve:
            # Without any score a pause would leave nothing to judge by: the first episodes come first.
            return False
        self._pause_asked = True
        return True

    def _reported(self, progress: Progress, *, wants_verdict: bool) -> Reported:
        return Reported(
            uuid=self.assignment.uuid,
            epoch=progress.epoch,
            agent_steps=progress.agent_steps,
            total_agent_steps=progress.total_agent_steps,
            cost_seconds=progress.uptime_seconds,
            steps_per_second=progress.steps_per_second,
            score=progress.score,
            metrics=dict(progress.metrics),
            wants_verdict=wants_verdict,
        )

    def _evaluate(self, result: TrainResult) -> tuple[float, Mapping[str, object]]:
        import trainer

        config = self.assignment.config
        if result.checkpoint is None:
            raise CheckpointError("The run has left no checkpoint to evaluate.")
        evaluation = trainer.evaluate(
            config,
            result.checkpoint,
            episodes=config.sweep.eval_episodes,
            seed=evaluation_seed(config.sweep.seed),
            on_heartbeat=self.channel.beat,
        )
        if not math.isfinite(evaluation.mean):
            raise NotFiniteError("The evaluation's score is not finite.", value=evaluation.mean)
        return evaluation.mean, {
            "mean": evaluation.mean,
            "deviation": evaluation.deviation,
            "interval": list(evaluation.interval),
            "scores": list(evaluation.scores),
            "truncated_episodes": evaluation.truncated_episodes,
        }


def _log(progress: Progress, *, first: bool) -> None:
    if first:
        print("     epoch         steps     steps/s         score")  # noqa: T201 - stdout is the trial's log
    score = "" if progress.score is None else f"{progress.score:14.6g}"
    line = f"{progress.epoch:10d} {progress.agent_steps:13,d} {progress.steps_per_second:11,.0f}{score}"
    print(line, flush=True)  # noqa: T201 - stdout is the trial's log


def checkpoint_steps(path: Path) -> int:
    """Agent steps at which a checkpoint was written.

    Raises:
        CheckpointError: it cannot be read.
    """
    from trainer.checkpoint import load_checkpoint

    return load_checkpoint(path).agent_steps


def config_of_checkpoint(path: Path) -> Config:
    """The config of the run that wrote a checkpoint.

    Raises:
        PufferError: it cannot be read.
    """
    from trainer.checkpoint import config_of_checkpoint as find

    return find(path)


def train_alone(
    config: Config,
    on_progress: Callable[[Progress], Directive],
    *,
    folder: Path,
    resume_from: Path | None = None,
) -> TrainResult:
    """One run outside a sweep, in this process: `puffer-sweep train`.

    Raises:
        PufferError: see `trainer.train`.
    """
    import trainer

    return trainer.train(config, on_progress, folder=folder, resume_from=resume_from)


def make_logs(jsonl: Path | None, tensorboard: Path | None, from_steps: int) -> list[RunLog]:
    """The logs that were asked for: a file of JSON lines, a folder of TensorBoard's events.

    Raises:
        MissingExtraError: tensorboard is not installed.
        PufferError: the file is there and is no such log.
    """
    from trainer.logs import JsonLinesLog, TensorBoardLog

    logs: list[RunLog] = []
    if jsonl is not None:
        logs.append(JsonLinesLog(jsonl, from_steps))
    if tensorboard is not None:
        logs.append(TensorBoardLog(tensorboard, from_steps))
    return logs


def evaluate_alone(
    config: Config, checkpoint: Path, *, episodes: int, seed: int | None = None, greedy: bool = False
) -> Evaluation:
    """The scores of a checkpoint over whole episodes, in this process: `puffer-sweep eval`.

    Raises:
        PufferError: see `trainer.evaluate`.
    """
    import trainer

    seeded: dict[str, Any] = {} if seed is None else {"seed": seed}
    return trainer.evaluate(config, checkpoint, episodes=episodes, greedy=greedy, **seeded)


def record_alone(
    config: Config, checkpoint: Path, path: Path, *, episodes: int | None = None, **playing: Any
) -> Recording:
    """A film of a checkpoint's agent, in this process: `puffer-sweep video`.

    Raises:
        PufferError: see `trainer.record`.
    """
    import trainer

    counted: dict[str, Any] = {} if episodes is None else {"episodes": episodes}
    return trainer.record(config, checkpoint, path, **counted, **playing)


def _make_vector(config: Config, device: str, *, num_threads: int | None) -> VectorEnv:
    from trainer.vector import make_vector

    return make_vector(config, device, num_threads=num_threads)


def environments_here() -> tuple[Listed, ...]:
    """See `trainer.vector.list_environments`."""
    from trainer.vector import list_environments

    return list_environments()
