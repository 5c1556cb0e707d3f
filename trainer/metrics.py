"""From what an epoch left behind to the numbers that people and sweeps read."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainer.ppo.rollout import Episodes, PhaseSeconds


def metric_of_episodes(
    metric: str, returns: torch.Tensor, lengths: torch.Tensor, extra: Mapping[str, torch.Tensor]
) -> torch.Tensor | None:
    """The values (K,) of a metric over episodes: what the environment reports under that name, or our own.

    `score` is the return where the environment reports no score. None: nobody knows the name.
    """
    if metric in extra:
        return extra[metric]
    own = {"score": returns, "episode_return": returns, "episode_length": lengths.to(torch.float64)}
    return own.get(metric)


def summarise_episodes(episodes: Episodes, metric: str) -> tuple[float | None, dict[str, float]]:
    """The mean of the metric over the episodes (None without any), and all means as `environment/*`."""
    if not episodes.returns:
        return None, {"environment/num_episodes": 0.0}
    returns, lengths = torch.cat(episodes.returns), torch.cat(episodes.lengths)
    extra = {name: torch.cat(parts) for name, parts in episodes.extra.items()}
    metrics = {
        "environment/num_episodes": float(len(returns)),
        "environment/episode_return": returns.mean().item(),
        "environment/episode_length": lengths.double().mean().item(),
    }
    for name, values in extra.items():
        mean = values.nanmean().item()
        if math.isfinite(mean):
            metrics[f"environment/{name}"] = mean
    chosen = metric_of_episodes(metric, returns, lengths, extra)
    score = chosen.nanmean().item() if chosen is not None else math.nan
    if not math.isfinite(score):
        return None, metrics
    metrics["environment/score"] = score
    return score, metrics


def summarise_sums(
    names: Sequence[str], sums: Sequence[float], metric: str
) -> tuple[float | None, dict[str, float]]:
    """`summarise_episodes` from sums: the number of episodes, of their returns and lengths, and of each report."""
    number = sums[0]
    if number == 0:
        return None, {"environment/num_episodes": 0.0}
    named = zip(("episode_return", "episode_length", *names), sums[1:], strict=True)
    means = {name: total / number for name, total in named if math.isfinite(total)}
    score = means.get(metric, means.get("episode_return") if metric == "score" else None)
    metrics = {"environment/num_episodes": number}
    metrics |= {f"environment/{name}": mean for name, mean in means.items()}
    if score is not None:
        metrics["environment/score"] = score
    return score, metrics


def read_once(**named: torch.Tensor | None) -> dict[str, list[float]]:
    """The numbers of several tensors, flat, with one wait for the device; nothing for None."""
    present = {name: tensor.flatten() for name, tensor in named.items() if tensor is not None}
    numbers = torch.cat([tensor.to(torch.float64) for tensor in present.values()]).tolist()
    read, first = {}, 0
    for name, tensor in present.items():
        read[name] = numbers[first : first + len(tensor)]
        first += len(tensor)
    return read


def phase_metrics(seconds: PhaseSeconds, learn: float, total: float) -> dict[str, float]:
    """Where an epoch's time went, as `seconds/*`; what no phase claims is `other`."""
    named = {
        "environment": seconds.environment,
        "forward": seconds.forward,
        "learn": learn,
        "copy": seconds.copy,
    }
    named["other"] = max(0.0, total - sum(named.values()))
    return {f"seconds/{name}": value for name, value in named.items()}


class UsageMeter:
    """What a run uses of the machine, as `usage/*`, without waiting for the device.

    `processors` is the number of cores that this process keeps busy (environment workers are processes of their
    own), `memory_bytes` what it holds of the host's memory; on CUDA also `device_memory_bytes` (PyTorch's
    tensors) and, with the extra `gpu`, `device_share`, the share of the last second in which the device worked.

    Args:
        device: of the run.
        clock: monotonic seconds.
    """

    INTERVAL_SECONDS = 1.0
    """Reading the counters of host and device costs up to a millisecond, so that short epochs share one reading."""

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._clock = clock
        self._process = psutil.Process()
        self._read_at = -math.inf
        self._known: dict[str, float] = {}
        self._has_device_share = device.type == "cuda"

    def measure(self, processor_seconds: float, total_seconds: float) -> dict[str, float]:
        """After an epoch that took so much time of the processors and by the clock."""
        now = self._clock()
        if now - self._read_at >= self.INTERVAL_SECONDS:
            self._read_at = now
            self._known = self._read()
        return {"usage/processors": processor_seconds / total_seconds, **self._known}

    def _read(self) -> dict[str, float]:
        known = {"usage/memory_bytes": float(self._process.memory_info().rss)}
        if self._device.type == "cuda":
            known["usage/device_memory_bytes"] = float(torch.cuda.memory_allocated(self._device))
        if self._has_device_share:
            try:
                known["usage/device_share"] = torch.cuda.utilization(self._device) / 100
            except Exception:  # noqa: BLE001 - the library's own errors cannot be named where it is not installed
                # No library, or a device that does not tell: neither changes during a run.
                self._has_device_share = False
        return known


def finite_only(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without NaN and infinity, which neither databases nor people can use."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
