"""Older and newer dialects: recognised, translated line by line, refused with every reason. Fixtures of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainer.config import Config, dump_config, load_config_file
from trainer.config.dialects import recognise
from trainer.config.dialects.four import FOUR
from trainer.config.dialects.three import THREE
from trainer.config.dialects.two import TWO_FIVE, TWO_ZERO
from trainer.config.schema import entries
from trainer.errors import ConfigError, DialectError, UnknownNameError

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config.dialects.rules import Dialect

TWO_ZERO_FILE = """\
[base]
package = invented
env_name = lake river
rnn_name = Recurrent
vec = multiprocessing

[train]
num_envs = 48
num_workers = 12
env_batch_size = 24
zero_copy = False
batch_size = 4096
minibatch_size = 1024
bptt_horizon = 8
learning_rate = 3e-4
norm_adv = True
clip_vloss = True
target_kl = None
anneal_lr = True

[env]
depth = 3

[sweep]
method = bayes
name = lakes

[sweep.metric]
goal = minimize
name = environment/time_ashore

[sweep.parameters.train.parameters.learning_rate]
distribution = log_uniform_values
min = 1e-5
max = 1e-1

[sweep.parameters.train.parameters.bptt_horizon]
values = [4, 8, 16]

[sweep.parameters.env.parameters.depth]
distribution = int_uniform
min = 1
max = 9
"""

TWO_FIVE_FILE = """\
[base]
package = invented
env_name = lake
vec = native
max_suggestion_cost = 1800

[workspace]
name = someone
project = lakes

[train]
num_envs = 4
num_workers = 2
env_batch_size = 1
optimizer = muon
scheduler = cosine
use_e3b = False
e3b_coef = 0.5
use_puff_advantage = True
replay_factor = 0.0
wandb = False
num_minibatches = 4

[sweep]
method = protein
max_score = 10

[sweep.metric]
goal = maximize
name = score
min = 0
max = 10

[sweep.train.gamma]
distribution = logit_normal
min = 0.8
mean = 0.98
max = 0.9999
scale = auto
"""

FOUR_FILE = """\
[base]
env_name = lake
checkpoint_interval = 50
cudagraphs = 10

[vec]
total_agents = 1024
num_buffers = 4
num_threads = 8

[env]
num_agents = 2

[policy]
hidden_size = 64

[selfplay]
enabled = 0
max_size = 16

[train]
gpus = 1
horizon = 32
beta1 = 0.9
beta2 = 0.99
eps = 1e-6
anneal_lr = 1
replay_ratio = 2.0
learning_rate = 0.01

[sweep]
match_enemy_model_path = ''
match_num_games = 64

[sweep.train.beta1]
distribution = logit_normal
min = 0.5
max = 0.999
scale = auto

[sweep.train.horizon]
distribution = uniform_pow2
min = 8
max = 128
scale = auto
"""


def load(folder: Path, text: str) -> Config:
    path = folder / "own.ini"
    path.write_text(text)
    return load_config_file(path)


def test_two_zero(tmp_path: Path) -> None:
    config = load(tmp_path, TWO_ZERO_FILE)
    vec, train = config.vec, config.train
    assert (vec.backend, vec.num_envs, vec.num_workers, vec.batch_size) == ("Multiprocessing", 48, 12, 24)
    assert not vec.zero_copy
    assert (train.batch_size, train.learning_rate, train.anneal_lr) == (4096, 3e-4, True)
    assert (train.optimizer, train.adam_beta1, train.adam_eps, train.prio_alpha) == ("adam", 0.9, 1e-5, 0.0)
    assert (config.sweep.method, config.sweep.metric, config.sweep.goal) == ("gp", "time_ashore", "minimize")
    assert config.base.env_name == "lake"
    swept = config.sweep.parameters
    assert list(swept) == ["train.learning_rate", "train.bptt_horizon", "env.depth"]
    assert [spec.distribution for spec in swept.values()] == ["log_normal", "categorical", "int_uniform"]
    assert swept["env.depth"].whole


def test_two_five(tmp_path: Path) -> None:
    config = load(tmp_path, TWO_FIVE_FILE)
    assert (config.vec.backend, config.vec.num_envs, config.vec.batch_size) == ("PufferEnv", 4, 1)
    assert (config.train.name, config.train.project) == ("someone", "lakes")
    assert (config.train.num_minibatches, config.train.optimizer) == (4, "muon")
    assert (config.sweep.max_suggestion_cost, config.sweep.method) == (1800, "protein")
    assert config.sweep.parameters["train.gamma"].mean == 0.98


def test_four(tmp_path: Path) -> None:
    config = load(tmp_path, FOUR_FILE)
    assert (config.vec.num_envs, config.vec.batch_size, config.vec.num_workers) == (512, 128, 8)
    train = config.train
    assert (train.bptt_horizon, train.adam_beta1, train.adam_beta2, train.adam_eps) == (32, 0.9, 0.99, 1e-6)
    assert (train.update_epochs, train.anneal_lr, train.checkpoint_interval) == (2, True, 50)
    assert list(config.sweep.parameters) == ["train.adam_beta1", "train.bptt_horizon"]
    assert config.env == {"num_agents": 2}


@pytest.mark.parametrize("text", [TWO_ZERO_FILE, TWO_FIVE_FILE, FOUR_FILE])
def test_every_translation_has_its_line(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, text)
    known = {*entries()}
    dialect = {TWO_ZERO_FILE: TWO_ZERO, TWO_FIVE_FILE: TWO_FIVE, FOUR_FILE: FOUR}[text]
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line:
            name = f"{section}.{line.partition('=')[0].strip()}"
            foreign = dialect.rule(name) is not None and name not in known
            said = [note for note in config.notes if f"line {number}," in note]
            assert bool(said) >= foreign, name


@pytest.mark.parametrize("text", [TWO_ZERO_FILE, TWO_FIVE_FILE, FOUR_FILE])
def test_a_translated_config_is_one_of_ours(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, text)
    again = load(tmp_path, dump_config(config))
    assert again == config
    assert again.notes == ()


@pytest.mark.parametrize(
    ("names", "dialect"),
    [
        ({"vec.total_agents"}, FOUR),
        ({"train.beta1"}, FOUR),
        ({"torch.network"}, FOUR),
        ({"sweep.train.horizon.min"}, FOUR),
        ({"sweep.parameters.train.parameters.gamma.min"}, TWO_ZERO),
        ({"train.num_envs"}, TWO_ZERO),
        ({"train.num_envs", "train.adam_beta1"}, TWO_FIVE),
        ({"sweep.metric.name", "sweep.train.gamma.distribution"}, TWO_FIVE),
        ({"vec.num_envs", "train.num_envs"}, THREE),
        ({"train.gamma"}, THREE),
        (set(), THREE),
    ],
)
def test_recognition(names: set[str], dialect: Dialect) -> None:
    assert recognise(names) is dialect


def test_refusals_are_listed_completely(tmp_path: Path) -> None:
    text = FOUR_FILE.replace("enabled = 0", "enabled = 1").replace("replay_ratio = 2.0", "replay_ratio = 1.5")
    text = text.replace("gpus = 1", "gpus = 4") + "\n[torch]\nnetwork = MinGRU\n"
    with pytest.raises(DialectError) as caught:
        load(tmp_path, text)
    told = str(caught.value)
    for name in (
        "selfplay.enabled",
        "selfplay.max_size",
        "train.replay_ratio",
        "train.gpus",
        "torch.network",
    ):
        assert name in told
    assert "PufferLib 4.0" in told
    assert "5 settings without counterpart" in told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_buffers = 4", "num_buffers = 4.5", "buffers must be whole"),
        ("num_buffers = 4", "num_buffers = 5", "do not divide"),
        ("num_agents = 2", "num_agents = 3", "no multiple of env.num_agents"),
        ("num_agents = 2", "num_agents = [8]", "no multiple of env.num_agents"),
        ("[sweep.train.horizon]", "[sweep.train.replay_ratio]", "cannot be swept"),
        ("[sweep.train.horizon]", "[sweep.vec.total_agents]", "cannot be swept"),
        ("gpus = 1", "use_rnn = 1", "recurrent network"),
        ("gpus = 1", "anneal_ent_coef = 1", "entropy coefficient"),
        ("match_enemy_model_path = ''", "match_enemy_model_path = x.bin", "fixed enemy"),
        ("match_num_games = 64", "max_cost = 500", "trial_timeout"),
    ],
)
def test_what_four_has_and_we_have_not(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FOUR_FILE
    with pytest.raises(DialectError, match=message):
        load(tmp_path, FOUR_FILE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("norm_adv = True", "norm_adv = False", "always normalised"),
        ("target_kl = None", "target_kl = 0.01", "KL divergence"),
        ("distribution = int_uniform\n", "mu = 1\nsigma = 2\ndistribution = log_normal\n", "has no bounds"),
        ("target_kl = None", "use_e3b = True", "E3B"),
    ],
)
def test_what_two_has_and_we_have_not(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DialectError, match=message):
        load(tmp_path, TWO_ZERO_FILE.replace(old, new))


def test_value_clipping_that_is_off_clips_nothing(tmp_path: Path) -> None:
    config = load(tmp_path, TWO_ZERO_FILE.replace("clip_vloss = True", "clip_vloss = False"))
    assert config.train.vf_clip_coef == 1e9


def test_details_of_what_is_on_are_refused_with_it(tmp_path: Path) -> None:
    with pytest.raises(DialectError, match=r"2 settings.*use_e3b.*e3b_coef"):
        load(tmp_path, TWO_FIVE_FILE.replace("use_e3b = False", "use_e3b = True"))


def test_typos_stay_typos_in_every_dialect(tmp_path: Path) -> None:
    for text in (TWO_ZERO_FILE, TWO_FIVE_FILE, FOUR_FILE):
        with pytest.raises(UnknownNameError, match="Did you mean vf_coef"):
            load(tmp_path, text.replace("[train]\n", "[train]\nvf_ceof = 0.5\n"))


def test_two_settings_that_mean_the_same(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.num_envs.*vec\.num_envs|vec\.num_envs.*train\.num_envs"):
        load(tmp_path, "[vec]\nnum_envs = 4\n[train]\nnum_envs = 8\n")
    with pytest.raises(ConfigError, match=r"both give train\.bptt_horizon"):
        load(tmp_path, "[train]\nhorizon = 4\nbptt_horizon = 8\n")


def test_what_forks_of_three_add(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "[base]\nmax_suggestion_cost = 60\n[vec]\nnum_envs = 4\n[train]\nuse_rnn = False\nrender = True\n"
        "device = mps\n[sweep]\ndownsample = 0\n[wosac]\nenabled = False\nnum_rollouts = 32\n",
    )
    assert config.sweep.max_suggestion_cost == 60
    assert (config.sweep.downsample, config.train.device) == (1, "auto")
    assert len(config.notes) == 7


def test_every_target_of_every_rule_exists() -> None:
    for dialect in (TWO_ZERO, TWO_FIVE, THREE, FOUR):
        for name, rule in dialect.rules.items():
            assert rule.target is None or rule.target in entries(), name
            reading = rule.read(1, lambda _: None)
            assert set(reading.settings) <= set(entries()), name
            assert reading.refused or reading.line, name
        assert set(dialect.implied) <= set(entries())
