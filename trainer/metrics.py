"""From what an epoch left behind to the numbers that people and sweeps read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def usage_metrics(device: torch.device, processor_seconds: float, total_seconds: float) -> dict[str, float]:
    """What the run uses of the machine: `usage/processors` (cores kept busy), and the device's memory on CUDA."""
    metrics = {"usage/processors": processor_seconds / total_seconds}
    if device.type == "cuda":
        metrics["usage/device_memory_bytes"] = float(torch.cuda.memory_allocated(device))
    return metrics


def finite_only(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without NaN and infinity, which neither databases nor people can use."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
