"""The training run: rollout → update → report, epoch by epoch."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainer.acceleration import compilation_faults_explained
from trainer.checkpoint import Checkpoint, fit_or_raise, load_checkpoint, save_checkpoint
from trainer.config import dump_config, resolve
from trainer.cuda.memory import device_memory_error, respect_share
from trainer.cuda.rollout import EpisodeSums
from trainer.device import choose_device, describe_device, torch_settings
from trainer.errors import CheckpointError, EnvironmentFault, MemoryExhaustedError, NotFiniteError, Place
from trainer.machine import multiplies_bfloat16
from trainer.metrics import (
    UsageMeter,
    finite_only,
    phase_metrics,
    read_once,
    summarise_episodes,
    summarise_sums,
)
from trainer.optimizers import set_learning_rate
from trainer.parts import make_parts
from trainer.policies import ObservationNormaliser
from trainer.ppo.schedule import learning_rate_at, prio_beta_at
from trainer.ppo.update import UPDATE_NAMES, health_numbers
from trainer.records import Directive, EnvironmentFacts, Progress, RunStatus, TrainResult
from trainer.vector import make_vector, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.config import Config, TrainSection
    from trainer.records import OnHeartbeat, OnProgress
    from trainer.vector.base import VectorEnv


def train(
    config: Config,
    on_progress: OnProgress | None = None,
    *,
    folder: Path | str | None = None,
    resume_from: Path | str | None = None,
    on_heartbeat: OnHeartbeat | None = None,
    vector: VectorEnv | None = None,
) -> TrainResult:
    """Train one agent as a config says.

    Args:
        config: resolved or not.
        on_progress: called once an epoch; its answer says whether to go on.
        folder: where checkpoints go (`checkpoints/` in it); None keeps none.
        resume_from: a checkpoint to go on from. Where the environments can save their state, the rest of the
            run is bit-identical to a run that was never interrupted; elsewhere new episodes begin.
        on_heartbeat: called at every environment step and every minibatch.
        vector: an environment kept from an earlier run with the same settings; it is left open.

    Raises:
        ConfigError, DeviceError, EnvironmentMakeError, MissingExtraError: the run cannot begin.
        TrainingError: it ended badly; checkpoints written before remain.
    """
    device = choose_device(config.train.device)
    respect_share(device)
    config = config.override({"train.device": str(device)}) if config.train.device == "auto" else config
    is_open_ended = "auto" in (config.vec.backend, config.vec.num_workers, config.vec.batch_size)
    if vector is None and is_open_ended:
        config = resolve(config, probe(config), device.type == "cuda").config
    own_vector = vector is None
    with (
        _memory_faults_explained(config.train, device),
        compilation_faults_explained(config.train),
        torch_settings(config.train, device),
    ):
        vector = vector or make_vector(config, device)
        try:
            facts = EnvironmentFacts(
                agents_per_env=vector.agents_per_env,
                backend=vector.backend,
                native_bfloat16=multiplies_bfloat16(),
            )
            config = resolve(config, facts, device.type == "cuda").config
            trainer = Trainer(
                config,
                vector,
                device,
                folder=None if folder is None else Path(folder),
                on_heartbeat=on_heartbeat or _stay_silent,
            )
            is_sound = False
            try:
                trainer.begin(None if resume_from is None else Path(resume_from))
                result = trainer.run(on_progress or _go_on)
                is_sound = True
                return result
            finally:
                trainer.parts.release(broken=not is_sound)
        finally:
            if own_vector:
                vector.close()


def _stay_silent() -> None:
    pass


def _go_on(_: Progress) -> Directive:
    return Directive.CONTINUE


@dataclass(slots=True)
class _Counters:
    epoch: int = 0
    agent_steps: int = 0
    uptime_seconds: float = 0.0


class Trainer:
    """One run: its agent, optimiser, environments and counters.

    Args:
        config: resolved.
        vector: open; not closed here.
        folder: where checkpoints go; None keeps none.
        on_heartbeat: called at every environment step and every minibatch.
    """

    def __init__(
        self,
        config: Config,
        vector: VectorEnv,
        device: torch.device,
        *,
        folder: Path | None,
        on_heartbeat: Callable[[], None],
    ) -> None:
        settings = config.train
        self.config, self.vector, self.device, self.folder = config, vector, device, folder
        self.parts = make_parts(config, vector, device, on_heartbeat)
        memory = self.parts.memory
        self.agent, self.compute, self.optimizer = memory.agent, memory.compute, memory.optimizer
        self.buffer, self.coefficients, self.generator = memory.buffer, memory.coefficients, memory.generator
        self.collector, self.learner = self.parts.collector, self.parts.learner
        self.batch_steps = self.parts.batch_steps
        self.num_epochs = max(1, settings.total_timesteps // self.batch_steps)
        self.total_agent_steps = self.num_epochs * self.batch_steps
        self.normalisers = [m for m in self.agent.modules() if isinstance(m, ObservationNormaliser)]
        self.usage = UsageMeter(device)
        self.counters = _Counters()
        self.newest_checkpoint: Path | None = None

    def begin(self, resume_from: Path | None) -> None:
        """Start from the beginning, or from a checkpoint.

        Raises:
            CheckpointError: the checkpoint is damaged or of another policy.
        """
        if resume_from is None:
            self.collector.begin(self.config.vec.seed)
            return
        checkpoint = load_checkpoint(resume_from)
        fit_or_raise(self.agent, checkpoint.agent, resume_from)
        try:
            self.parts.load_optimizer(checkpoint.optimizer)
            self.generator.set_state(checkpoint.random["run"])
            torch.set_rng_state(checkpoint.random["cpu"])
            if self.device.type == "cuda" and "cuda" in checkpoint.random:
                torch.cuda.set_rng_state(checkpoint.random["cuda"], self.device)
            self.counters = _Counters(checkpoint.epoch, checkpoint.agent_steps, checkpoint.uptime_seconds)
            seed = self.config.vec.seed + checkpoint.epoch * self.vector.num_envs
            self.collector.resume(seed, checkpoint.collector, checkpoint.vector)
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                "The checkpoint does not fit this run.",
                place=Place(file=str(resume_from)),
                rule=" ".join(str(error).split()),
                remedy="Resume with the config that it was written under, on the same kind of device.",
            ) from error
        self.newest_checkpoint = resume_from

    def run(self, on_progress: OnProgress) -> TrainResult:
        """Epochs until the run is complete or the caller wants it no more."""
        status = RunStatus.COMPLETED
        while self.counters.agent_steps < self.total_agent_steps:
            # What overflows here is found out by `_check_health`, and said in one sentence.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                progress = self._run_epoch()
            is_last = self.counters.agent_steps >= self.total_agent_steps
            directive = on_progress(progress)
            if is_last:
                self._save()
            elif directive in (Directive.PAUSE, Directive.STOP):
                self._save()
                status = RunStatus.PAUSED if directive is Directive.PAUSE else RunStatus.STOPPED
                break
            elif self.counters.epoch % self.config.train.checkpoint_interval == 0:
                self._save()
            if not is_last and self.counters.epoch in self.config.train.restarts:
                self._restart_episodes()
        return self._result(status)

    def _restart_episodes(self) -> None:
        """Begin new episodes exactly as a run does that goes on from a checkpoint of this epoch."""
        if self.vector.state_dict() is None:
            self.collector.begin(self.config.vec.seed + self.counters.epoch * self.vector.num_envs)

    def _run_epoch(self) -> Progress:
        began, processor_began = time.perf_counter(), time.process_time()
        settings, counters = self.config.train, self.counters
        done = counters.agent_steps / self.total_agent_steps
        # The correction for priorities is whole in the last epoch, hence the share of the epochs before the
        # last.
        beta_done = counters.agent_steps / max(1, self.total_agent_steps - self.batch_steps)
        learning_rate = learning_rate_at(
            done, settings.learning_rate, anneal=settings.anneal_lr, min_ratio=settings.min_lr_ratio
        )
        set_learning_rate(self.optimizer, learning_rate)
        self.coefficients.prio_beta.fill_(prio_beta_at(beta_done, settings.prio_beta0))

        self.compute.refresh()
        episodes, seconds = self.collector.collect(self.buffer)
        if settings.reward_clip is not None:
            self.buffer.rewards.clamp_(-settings.reward_clip, settings.reward_clip)
        learning_began = time.perf_counter()
        measured = self.learner.update(self.buffer, self.coefficients)
        for normaliser in self.normalisers:
            normaliser.take_in(self.buffer.observations)
        numbers = read_once(
            measured=measured.numbers(),
            health=health_numbers(self.buffer.live, self.learner.parameters),
            episodes=episodes.sums if isinstance(episodes, EpisodeSums) else None,
        )
        learned = time.perf_counter()
        seconds.settle()
        losses = dict(zip(UPDATE_NAMES, numbers["measured"], strict=True))
        live_steps, is_healthy = int(numbers["health"][0]), numbers["health"][1] == 1.0
        self._check_health(losses, live_steps, weights_are_finite=is_healthy)

        total_seconds = time.perf_counter() - began
        counters.epoch += 1
        counters.agent_steps += live_steps
        counters.uptime_seconds += total_seconds
        if isinstance(episodes, EpisodeSums):
            score, metrics = summarise_sums(episodes.names, numbers["episodes"], self.config.sweep.metric)
        else:
            score, metrics = summarise_episodes(episodes, self.config.sweep.metric)
        metrics |= {f"losses/{name}": value for name, value in losses.items()}
        # Where the rollout runs on the device, the host was through with it long before the device.
        metrics |= phase_metrics(
            seconds, min(learned - learning_began, learned - began - seconds.total()), total_seconds
        )
        metrics |= self.usage.measure(time.process_time() - processor_began, total_seconds)
        metrics["learning_rate"] = learning_rate
        return Progress(
            epoch=counters.epoch,
            num_epochs=max(self.num_epochs, counters.epoch),
            agent_steps=counters.agent_steps,
            total_agent_steps=self.total_agent_steps,
            uptime_seconds=counters.uptime_seconds,
            steps_per_second=live_steps / total_seconds,
            score=score,
            metrics=finite_only(metrics),
            backend=self.vector.backend,
        )

    def _check_health(self, losses: dict[str, float], live_steps: int, *, weights_are_finite: bool) -> None:
        if live_steps == 0:
            raise EnvironmentFault("No agent took a step in a whole epoch: every row was marked as absent.")
        wrong = [name for name, value in losses.items() if value - value != 0.0]
        if not wrong:
            if weights_are_finite:
                return
            wrong = ["the policy's weights"]
        raise NotFiniteError(
            f"Training diverged in epoch {self.counters.epoch + 1}: {', '.join(wrong)} not finite.",
            remedy="Lower train.learning_rate or train.max_grad_norm; checkpoints from before are kept.",
        )

    def _save(self) -> None:
        if self.folder is None:
            return
        random = {"run": self.generator.get_state(), "cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint = Checkpoint(
            config_text=dump_config(self.config),
            agent=self.agent.state_dict(),
            optimizer=self.optimizer.state_dict(),
            epoch=self.counters.epoch,
            agent_steps=self.counters.agent_steps,
            uptime_seconds=self.counters.uptime_seconds,
            random=random,
            collector=self.collector.state_dict(),
            vector=self.vector.state_dict(),
        )
        self.newest_checkpoint = save_checkpoint(checkpoint, self.folder)

    def _result(self, status: RunStatus) -> TrainResult:
        counters = self.counters
        facts: dict[str, str | int | float] = {
            "device": str(self.device),
            "device_name": describe_device(self.device),
            "torch": torch.__version__,
            "backend": self.vector.backend,
            "num_parameters": sum(parameter.numel() for parameter in self.learner.parameters),
            "num_threads": torch.get_num_threads(),
            "seed": self.config.train.seed,
            "steps_per_second": counters.agent_steps / max(counters.uptime_seconds, 1e-9),
            "peak_memory_bytes": _peak_memory_bytes(self.device),
            "steps": self.parts.describe(),
            "capture_seconds": self.parts.capture_seconds(),
        }
        return TrainResult(
            status=status,
            agent_steps=counters.agent_steps,
            uptime_seconds=counters.uptime_seconds,
            epochs=counters.epoch,
            checkpoint=self.newest_checkpoint,
            facts=facts,
        )


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    # Kibibytes everywhere but on macOS, where it is bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def _memory_faults_explained(settings: TrainSection, device: torch.device) -> Iterator[None]:
    """Turn every way of running out of memory into one error that says what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise device_memory_error(error, settings, device) from error
    except MemoryError as error:
        raise _host_memory_error() from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise _host_memory_error() from error


def _host_memory_error() -> MemoryExhaustedError:
    return MemoryExhaustedError(
        "The machine has run out of memory.",
        on_device=False,
        remedy="Lower train.batch_size, train.max_minibatch_size or vec.num_envs, or run fewer trials at once.",
    )
