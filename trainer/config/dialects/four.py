"""PufferLib 4.0: agents for environments, buffers for batches, other names for Adam's settings."""

from __future__ import annotations

from typing import Any

from trainer.config.dialects.rules import Dialect, Lookup, Reading, Rule, inert, only, part_of, refuse, rename
from trainer.config.dialects.shared import SHARED

_OFF = (False, None, 0, "none", "")
_SELFPLAY = "there is no self-play against earlier policies here"
_MATCH = "a trial is not scored by matches against a fixed enemy here"
_ENTROPY = "the entropy coefficient is not annealed here"
_MACHINE = inert("it concerns how 4.0 runs, not what is learnt")
_NETWORK = (False, 0, None)


def _agents_per_env(lookup: Lookup) -> int | None:
    """Agents of one environment as `[env]` says; one where it says nothing; None where it is unclear."""
    told = lookup("env.num_agents")
    if told is None:
        return 1
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None


def _num_envs(lookup: Lookup) -> int | None:
    total, per_env = lookup("vec.total_agents"), _agents_per_env(lookup)
    if not isinstance(total, int) or per_env is None or total % per_env:
        return None
    return total // per_env


def _read_total_agents(_: Any, lookup: Lookup) -> Reading:
    num_envs = _num_envs(lookup)
    if num_envs is None:
        return Reading(refused="agents are given as vec.num_envs, and they are no multiple of env.num_agents")
    how = f"{lookup('vec.total_agents')} / {_agents_per_env(lookup)} = {num_envs}"
    return Reading({"vec.num_envs": num_envs}, f"read as vec.num_envs = {how}")


def _read_num_buffers(value: Any, lookup: Lookup) -> Reading:
    num_envs = _num_envs(lookup)
    if num_envs is None and isinstance(lookup("vec.num_envs"), int):
        num_envs = lookup("vec.num_envs")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        return Reading(refused="a number of buffers must be whole")
    if num_envs is None or num_envs % value:
        return Reading(
            refused="buffers are given as vec.batch_size, and the environments do not divide by them"
        )
    size = num_envs // value
    return Reading({"vec.batch_size": size}, f"read as vec.batch_size = {num_envs} / {value} = {size}")


def _read_num_threads(value: Any, _: Lookup) -> Reading:
    if value == 0:
        return Reading({"vec.num_workers": "auto"}, "read as vec.num_workers = auto")
    return Reading({"vec.num_workers": value}, "read as vec.num_workers")


def _read_replay_ratio(value: Any, _: Lookup) -> Reading:
    if isinstance(value, (int, float)) and value >= 1 and value == int(value):
        return Reading({"train.update_epochs": int(value)}, f"read as train.update_epochs = {int(value)}")
    return Reading(refused="a batch is learnt from a whole number of times here (train.update_epochs)")


def _read_seed(value: Any, lookup: Lookup) -> Reading:
    if lookup("train.seed") is not None:
        return Reading(line="left out: train.seed is the seed of a run")
    return Reading({"train.seed": value}, "read as train.seed")


FOUR = Dialect(
    name="PufferLib 4.0",
    rules={
        **SHARED,
        "base.checkpoint_interval": rename("train.checkpoint_interval"),
        "base.checkpoint_dir": rename("train.data_dir"),
        "base.eval_episodes": rename("sweep.eval_episodes"),
        "base.seed": Rule(_read_seed, "train.seed"),
        "base.log_dir": _MACHINE,
        "base.rank": _MACHINE,
        "base.gpu_id": _MACHINE,
        "base.nccl_id": _MACHINE,
        "base.profile": _MACHINE,
        "base.cudagraphs": _MACHINE,
        "base.world_size": only((1,), "one process trains", "one process trains a config here"),
        "base.reset_state": only((True, 1), "memory is reset at episode ends", "memory is always reset here"),
        "vec.total_agents": Rule(_read_total_agents),
        "vec.num_buffers": Rule(_read_num_buffers),
        "vec.num_threads": Rule(_read_num_threads),
        "vec.num_agents": refuse("agents per environment are the environment's own affair ([env])"),
        "vec.frozen_bank_pct": part_of("selfplay.enabled", _SELFPLAY),
        "vec.num_frozen_banks": part_of("selfplay.enabled", _SELFPLAY),
        "selfplay.enabled": only(_OFF, "self-play is off", _SELFPLAY),
        "selfplay.*": part_of("selfplay.enabled", _SELFPLAY),
        "torch.network": only(
            ("mlp",),
            "the policy has no memory",
            "this network is not here; base.rnn_name = LSTMWrapper gives memory",
        ),
        "torch.encoder": only(("defaultencoder",), "it is the default", "this encoder is not here"),
        "torch.decoder": only(("defaultdecoder",), "it is the default", "this decoder is not here"),
        "train.gpus": only((0, 1), "one device trains", "one device trains a config here"),
        "train.horizon": rename("train.bptt_horizon"),
        "train.beta1": rename("train.adam_beta1"),
        "train.beta2": rename("train.adam_beta2"),
        "train.eps": rename("train.adam_eps"),
        "train.replay_ratio": Rule(_read_replay_ratio),
        "train.use_rnn": only(
            _NETWORK,
            "it is off, as here",
            "4.0's recurrent network is not here; base.rnn_name = LSTMWrapper is",
        ),
        "train.env": inert("the environment is named by base.env_name"),
        "train.anneal_ent_coef": only(_OFF, "it is off, as here", _ENTROPY),
        "train.min_ent_coef_ratio": part_of("train.anneal_ent_coef", _ENTROPY),
        "legacy.torch_deterministic": rename("train.torch_deterministic"),
        "legacy.cpu_offload": rename("train.cpu_offload"),
        "legacy.compile": rename("train.compile"),
        "legacy.compile_fullgraph": rename("train.compile_fullgraph"),
        "sweep.gpus": inert("sweep.gpus names devices here; all are used"),
        "sweep.max_cost": refuse(
            "there is sweep.max_cost_seconds for all trials and sweep.trial_timeout for each"
        ),
        "sweep.match_enemy_model_path": only(_OFF, "it is off, as here", _MATCH),
        "sweep.match_num_games": part_of("sweep.match_enemy_model_path", _MATCH),
        "sweep.match_enemy_hidden_size": part_of("sweep.match_enemy_model_path", _MATCH),
        "sweep.match_enemy_num_layers": part_of("sweep.match_enemy_model_path", _MATCH),
    },
)
