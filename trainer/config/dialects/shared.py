"""Settings of PufferLib 2.0 and 2.5 that also stand in later files: forks carry them on."""

from __future__ import annotations

from typing import Any

from trainer.config.dialects.rules import (
    Lookup,
    Reading,
    Rule,
    inert,
    only,
    part_of,
    rename,
    reword,
)

_TRACKER = inert("nothing is sent to a tracking service")
_OFF = (False, None, 0, "none")


def _read_metric(value: Any, _: Lookup) -> Reading:
    name = str(value).removeprefix("environment/")
    return Reading({"sweep.metric": name}, f"read as sweep.metric = {name}")


def _read_value_clipping(value: Any, _: Lookup) -> Reading:
    if value:
        return Reading(line="left out: the value loss is always clipped")
    return Reading({"train.vf_clip_coef": 1e9}, "read as train.vf_clip_coef = 1e9, which clips nothing")


def _off_or(refusal: str) -> Rule:
    return only(_OFF, "it is off, as here", refusal)


SHARED: dict[str, Rule] = {
    "base.vec": reword(
        "vec.backend",
        {
            "native": "PufferEnv",
            "serial": "Serial",
            "multiprocessing": "Multiprocessing",
            "ray": "Ray",
            "default": "auto",
        },
    ),
    "base.max_suggestion_cost": rename("sweep.max_suggestion_cost"),
    "train.num_envs": rename("vec.num_envs"),
    "train.num_workers": rename("vec.num_workers"),
    "train.env_batch_size": reword("vec.batch_size", {None: "auto"}),
    "train.zero_copy": rename("vec.zero_copy"),
    "train.norm_adv": only(
        (True,), "advantages are always normalised", "advantages are always normalised here"
    ),
    "train.clip_vloss": Rule(_read_value_clipping),
    "train.target_kl": _off_or("an epoch is never cut short by its KL divergence here"),
    "train.scheduler": only(
        ("cosine",), "the learning rate follows a cosine", "the learning rate is annealed by a cosine here"
    ),
    "train.use_vtrace": _off_or("V-trace is always part of the advantage here, in its combined form"),
    "train.use_puff_advantage": only(
        (True,), "the advantage always has this form", "the advantage always has the combined form here"
    ),
    "train.replay_factor": _off_or("there is no replay of earlier batches here"),
    "train.puf": _off_or("there is no such loss term here"),
    "train.use_p3o": _off_or("there is no P3O here"),
    "train.p3o_horizon": part_of("train.use_p3o", "there is no P3O here"),
    "train.use_e3b": _off_or("there is no E3B exploration bonus here"),
    "train.e3b_coef": part_of("train.use_e3b", "there is no E3B exploration bonus here"),
    "train.e3b_lambda": part_of("train.use_e3b", "there is no E3B exploration bonus here"),
    "train.e3b_norm": part_of("train.use_e3b", "there is no E3B exploration bonus here"),
    "train.use_diayn": _off_or("there is no DIAYN here"),
    "train.diayn_archive": part_of("train.use_diayn", "there is no DIAYN here"),
    "train.diayn_coef": part_of("train.use_diayn", "there is no DIAYN here"),
    "train.diayn_loss_coef": part_of("train.use_diayn", "there is no DIAYN here"),
    "train.use_rnn": _off_or("the recurrent wrapper is named by base.rnn_name"),
    "train.device": reword("train.device", {"mps": "auto"}, "Apple's GPUs are not used"),
    "train.run_id": _TRACKER,
    "train.run_tag": _TRACKER,
    "train.wandb": _TRACKER,
    "train.neptune": _TRACKER,
    "workspace.name": rename("train.name"),
    "workspace.project": rename("train.project"),
    "sweep.name": inert("a study is named by --study"),
    "sweep.max_score": inert("scores need no upper bound"),
    "sweep.metric.name": Rule(_read_metric),
    "sweep.metric.goal": rename("sweep.goal"),
    "sweep.metric.min": inert("scores need no bounds"),
    "sweep.metric.scale": inert("scores need no scale"),
    "sweep.metric.max": inert("scores need no bounds"),
    "sweep.metric.distribution": rename("sweep.metric_distribution"),
    "sweep.method": reword(
        "sweep.method", {"bayes": "gp"}, "Bayesian search by a Gaussian process; names are valid in any case"
    ),
}
