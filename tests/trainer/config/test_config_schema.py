"""The schema: every key is there, with type, bounds, default and sentence, and everything is made from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainer.config import Config, load_config_file, schema
from trainer.config.files import default_path, shipped_folder, split_names
from trainer.config.ini import read_ini
from trainer.config.parameters import PARAMETER_KEYS
from trainer.config.reference import reference_page

ROOT = Path(__file__).parents[3]

# The keys and defaults of the specification's page.
PAGE = {
    "base": {"package": None, "env_name": None, "policy_name": "Policy", "rnn_name": None},
    "vec": {
        "backend": "auto",
        "num_envs": 2,
        "num_workers": "auto",
        "batch_size": "auto",
        "zero_copy": True,
        "seed": 42,
        "timeout_seconds": 300.0,
    },
    "train": {
        "device": "auto",
        "seed": 42,
        "torch_deterministic": True,
        "tf32": True,
        "cpu_offload": False,
        "precision": "float32",
        "compile": False,
        "compile_mode": "max-autotune-no-cudagraphs",
        "compile_fullgraph": True,
        "total_timesteps": 100_000_000,
        "batch_size": "auto",
        "bptt_horizon": 64,
        "minibatch_size": 16384,
        "max_minibatch_size": 32768,
        "update_epochs": 1,
        "optimizer": "muon",
        "learning_rate": 0.015,
        "anneal_lr": True,
        "min_lr_ratio": 0.0,
        "adam_beta1": 0.95,
        "adam_beta2": 0.999,
        "adam_eps": 1e-8,
        "max_grad_norm": 1.5,
        "gamma": 0.995,
        "gae_lambda": 0.90,
        "clip_coef": 0.2,
        "vf_coef": 2.0,
        "vf_clip_coef": 0.2,
        "ent_coef": 0.001,
        "vtrace_rho_clip": 1.0,
        "vtrace_c_clip": 1.0,
        "prio_alpha": 0.8,
        "prio_beta0": 0.2,
        "data_dir": "experiments",
        "checkpoint_interval": 200,
        "name": None,
        "project": None,
    },
    "sweep": {
        "metric": "score",
        "goal": "maximize",
        "metric_distribution": "linear",
        "downsample": 5,
        "max_runs": 100,
        "sweep_only": None,
        "use_gpu": True,
        "prune_pareto": True,
        "score_rule": "last",
        "eval_episodes": 20,
        "pruner": "promotion",
        "max_hours": None,
        "max_cost_seconds": None,
        "workers": "auto",
        "trials_per_gpu": 1,
        "trial_timeout": None,
        "hang_timeout": 300.0,
        "retries": 1,
        "max_consecutive_failures": 5,
        "objectives": ("score",),
        "cost": "uptime",
        "warm_start": (),
        "enqueue": (),
        "launcher": "local",
        "confirm_top": 0,
        "confirm_seeds": 3,
        "video": False,
        "seed": 42,
        "keep_checkpoints": 5,
    },
}


def test_every_key_of_the_page_exists_with_its_default() -> None:
    expected = {f"{section}.{key}": value for section, keys in PAGE.items() for key, value in keys.items()}
    found = {name: entry.default for name, entry in schema.entries().items()}
    assert {name: found.get(name, "missing") for name in expected} == expected


@pytest.mark.parametrize(
    "key", ["method", "max_suggestion_cost", "early_stop_quantile", "gpus", "random_scale"]
)
def test_keys_whose_default_is_ours_to_choose_exist(key: str) -> None:
    assert f"sweep.{key}" in schema.entries()


@pytest.mark.parametrize("entry", schema.entries().values(), ids=lambda entry: entry.name)
def test_every_key_has_a_type_and_one_sentence(entry: schema.SchemaEntry) -> None:
    assert entry.kind
    assert entry.sentence.endswith(".")
    assert entry.sentence[0].isupper()
    assert schema.accepts(entry.name, entry.default)
    assert entry.section_sentence


def test_bounds_and_choices_come_from_the_types() -> None:
    entries = schema.entries()
    assert entries["train.gamma"].bounds == ">= 0 and <= 1"
    assert entries["train.learning_rate"].bounds == "> 0"
    assert entries["train.adam_beta1"].kind == "a number >= 0 and < 1"
    assert entries["train.optimizer"].choices == ("adam", "muon")
    assert entries["vec.num_workers"].whole
    assert not entries["train.gamma"].whole
    assert set(schema.parameter_keys()) == set(PARAMETER_KEYS)
    assert all(schema.parameter_keys().values())


def test_the_default_file_holds_every_key_with_the_schemas_default() -> None:
    written = {f"{s.name}.{key}" for s in read_ini(default_path()).sections for key in s.entries}
    assert written == set(schema.entries())
    assert load_config_file(default_path()) == Config()


def test_the_reference_page_is_current() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference_page()


def test_the_reference_page_names_every_key() -> None:
    page = reference_page()
    assert [
        e.name for e in schema.entries().values() if f"| `{e.key}` |" not in page or e.sentence not in page
    ] == []


@pytest.mark.parametrize("path", sorted(shipped_folder().rglob("*.ini")), ids=lambda path: path.stem)
def test_every_shipped_file_loads_without_a_word(path: Path) -> None:
    for name in split_names(_env_name(path)) or (None,):
        assert load_config_file(path, env_name=name).notes == ()


def _env_name(path: Path) -> object:
    base = read_ini(path).find("base")
    return None if base is None or "env_name" not in base.entries else base.entries["env_name"].value


def test_importing_the_configuration_is_light() -> None:
    probe = "import sys, trainer.config; print(sorted({'torch', 'optuna', 'gymnasium', 'numpy'} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert answer.stdout.strip() == "[]"
