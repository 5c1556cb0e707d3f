"""`check`: origins, the space, what samples cover, the share that resolves, idle sweeps, the estimate."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from sweeper import inspection
from sweeper.cli.check import command
from sweeper.inspection import estimate_sweep_seconds
from sweeper.measuring import MIN_EPOCHS, _Meter
from sweeper.space import SearchSpace
from sweeper.view.inspection_view import histogram
from trainer.config import Config, load_config_file, resolve
from trainer.errors import ConfigError
from trainer.records import Directive, EnvironmentFacts, Progress

if TYPE_CHECKING:
    from pathlib import Path

OWN = """\
[base]
package = gymnasium
env_name = CartPole-v1
[vec]
num_envs = 4
[train]
gamma = 0.9
bptt_horizon = 16
minibatch_size = 64
total_timesteps = 640
[sweep.train.gamma]
distribution = logit_normal
min = 0.8
max = 0.9999
[sweep.train.minibatch_size]
distribution = uniform_pow2
min = 16
max = 256
[sweep.train.optimizer]
values = [adam, muon]
"""


def write(folder: Path, text: str = OWN) -> Path:
    path = folder / "own.ini"
    path.write_text(text)
    return path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def record(*arguments: str) -> dict[str, Any]:
    result = check(*arguments, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# --- pure functions --------------------------------------------------------------------------------------


def test_settings_come_with_their_origins(tmp_path: Path) -> None:
    path = write(tmp_path)
    config = load_config_file(path)
    rows = {
        row.name: row for row in inspection.setting_rows(config, resolve(config, EnvironmentFacts(), False))
    }
    assert (rows["train.gamma"].value, rows["train.gamma"].default, rows["train.gamma"].differs) == (
        0.9,
        0.995,
        True,
    )
    assert rows["train.gamma"].origin == f"{path}:7"
    assert (rows["train.gae_lambda"].differs, rows["train.gae_lambda"].origin) == (False, "default")
    assert (rows["train.batch_size"].value, rows["train.batch_size"].origin) == (64, "default, was auto")
    assert not any(name.startswith("sweep.train") for name in rows)


def test_samples_stay_within_their_bounds_and_cover_them(tmp_path: Path) -> None:
    space = SearchSpace.from_config(load_config_file(write(tmp_path)))
    samples = inspection.draw_samples(space, 1)
    assert len(samples) == 1000
    assert samples == inspection.draw_samples(space, 1)
    covers = {cover.name: cover for cover in inspection.coverage(space, samples)}
    gamma = covers["train.gamma"]
    assert sum(gamma.counts) == 1000
    assert 0.8 <= gamma.quantiles[0] < 0.81
    assert 0.999 < gamma.quantiles[-1] <= 0.9999
    sizes = covers["train.minibatch_size"]
    assert set(sizes.values) == {16, 32, 64, 128, 256}
    assert len(sizes.counts) == 5
    assert sum(covers["train.optimizer"].counts) == 1000


def test_the_share_that_resolves_and_why_the_rest_does_not(tmp_path: Path) -> None:
    config = load_config_file(write(tmp_path))
    samples = [{"train.gamma": 0.9, "train.minibatch_size": size} for size in (16, 32, 64, 128, 256, 128)]
    found = inspection.feasibility(config, EnvironmentFacts(), samples, cuda_available=False)
    assert (found.drawn, found.resolved, found.share) == (6, 3, 0.5)
    ((count, reason),) = found.reasons
    assert count == 3
    assert "(128) is larger than batch_size (64)" in reason


@pytest.mark.parametrize(
    ("setting", "values", "message"),
    [
        ("train.min_lr_ratio", {"train.anneal_lr": False}, "anneal_lr is False"),
        ("train.prio_beta0", {"train.prio_alpha": 0.0}, "prio_alpha is 0"),
        ("rnn.hidden_size", {}, "rnn_name is None"),
        ("train.minibatch_size", {"train.num_minibatches": 4}, "num_minibatches"),
        ("train.checkpoint_interval", {}, "no part in what is learnt"),
        ("train.seed", {}, "noise"),
        ("env.frameskp", {}, "Did you mean frameskip"),
    ],
)
def test_sweeps_that_do_nothing(setting: str, values: dict[str, object], message: str) -> None:
    bounds = {"distribution": "uniform", "min": 0.1, "max": 0.9}
    if setting.rpartition(".")[2] in ("minibatch_size", "checkpoint_interval", "seed"):
        bounds = {"distribution": "int_uniform", "min": 1, "max": 9}
    swept = {f"sweep.{setting}.{key}": value for key, value in bounds.items()}
    (told,) = inspection.idle_parameters(
        Config().override(values | swept), EnvironmentFacts(env_keys=("frameskip",))
    )
    assert message in told
    assert setting in told


def test_sweeps_that_do_something_are_not_blamed(tmp_path: Path) -> None:
    assert inspection.idle_parameters(load_config_file(write(tmp_path)), None) == []
    both = {
        "train.prio_alpha": 0.0,
        **{f"sweep.train.{key}.distribution": "uniform" for key in ("prio_alpha", "prio_beta0")},
        **{f"sweep.train.{key}.min": 0.0 for key in ("prio_alpha", "prio_beta0")},
        **{f"sweep.train.{key}.max": 1.0 for key in ("prio_alpha", "prio_beta0")},
    }
    assert inspection.idle_parameters(Config().override(both), None) == []


def test_a_parameter_is_drawn_on_its_own_axis(tmp_path: Path) -> None:
    space = SearchSpace.from_config(load_config_file(write(tmp_path)))
    covers = {c.name: c for c in inspection.coverage(space, inspection.draw_samples(space, 1))}
    # Even on a logarithmic axis: on a linear one a single bin would hold half of all samples.
    counts = covers["train.gamma"].counts
    assert max(counts) < 3 * min(counts)
    sizes = covers["train.minibatch_size"]
    assert list(sizes.counts) == [sizes.values.count(power) for power in (16, 32, 64, 128, 256)]


def test_histograms() -> None:
    assert histogram([0, 1, 2, 4]) == " ▃▅█"
    assert histogram([]) == ""


def test_sweeps_take_whole_rounds_of_trials() -> None:
    assert estimate_sweep_seconds(10.0, 5, 2) == 30.0
    assert estimate_sweep_seconds(10.0, 4, 2) == 20.0


def test_the_short_run_ends_when_enough_is_known() -> None:
    times = iter([1.0, 2.0, 3.0, 30.0])
    meter = _Meter(0.0, 20.0, clock=lambda: next(times))

    def progress(epoch: int) -> Progress:
        return Progress(epoch, 100, epoch * 10, 1000, 1.0, 50.0, None)

    directives = [meter.receive(progress(epoch)) for epoch in range(1, 5)]
    assert directives == [Directive.CONTINUE] * 3 + [Directive.STOP]
    assert meter.first_epoch_seconds == 1.0
    assert len(meter.speeds) >= MIN_EPOCHS


# --- the command -----------------------------------------------------------------------------------------


def test_a_good_config(tmp_path: Path) -> None:
    result = check(str(write(tmp_path)), "--no-environment")
    assert result.exit_code == 0, result.output
    for word in (
        "resolved config",
        "search space",
        "samples cover",
        "logit_normal",
        "samples resolve",
        "can run",
    ):
        assert word in result.output


def test_overrides_are_seen(tmp_path: Path) -> None:
    found = record(str(write(tmp_path)), "--no-environment", "--train.gamma", "0.95", "--vec.num-envs", "8")
    rows = {row["name"]: row for row in found["settings"]}
    assert (rows["train.gamma"]["value"], rows["train.gamma"]["origin"]) == (0.95, "command line")
    assert [parameter["name"] for parameter in found["parameters"]] == [
        "train.minibatch_size",
        "train.optimizer",
    ]
    assert any("not swept" in note for note in found["notes"])
    assert found["problems"] == []


def test_a_config_that_does_not_fit_together(tmp_path: Path) -> None:
    result = check(str(write(tmp_path)), "--no-environment", "--train.minibatch-size", "24")
    assert result.exit_code == 1
    assert "not a multiple of bptt_horizon" in " ".join(result.output.split())


def test_a_space_of_which_nothing_fits(tmp_path: Path) -> None:
    found = record(str(write(tmp_path)), "--no-environment", "--sweep.train.minibatch-size.min", "128")
    assert found["feasible"]["resolved"] == 0
    assert any("Nearly no sample" in problem for problem in found["problems"])


@pytest.mark.parametrize("setting", ["--sweep.method", "--sweep.pruner"])
def test_a_method_that_nothing_knows(tmp_path: Path, setting: str) -> None:
    result = check(str(write(tmp_path)), "--no-environment", setting, "hyperbend")
    assert result.exit_code == 1
    assert "hyperbend" in result.output


def test_a_config_that_sweeps_nothing(tmp_path: Path) -> None:
    result = check(str(write(tmp_path, "[vec]\nnum_envs = 4\n")), "--no-environment")
    assert result.exit_code == 0
    assert "No parameter is swept" in result.output


def test_mistakes_are_our_errors(tmp_path: Path) -> None:
    result = check(str(write(tmp_path, "[train]\nvf_ceof = 1\n")), "--no-environment")
    assert isinstance(result.exception, ConfigError)


def test_without_the_environment_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_for_check.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = OWN.replace("gymnasium", "None").replace("CartPole-v1", "planted_for_check:make")
    text = text.replace("[vec]", "policy_name = planted_for_check:Policy\n[vec]")
    assert check(str(write(tmp_path, text)), "--no-environment").exit_code == 0
    assert "planted_for_check" not in sys.modules


def test_with_the_environment(tmp_path: Path) -> None:
    found = record(str(write(tmp_path)))
    assert found["environment"]["agents_per_env"] == 1
    assert "discrete 2" in found["environment"]["action"]
    assert found["problems"] == []


def test_swept_settings_that_the_policy_does_not_take(tmp_path: Path) -> None:
    text = OWN + "[sweep.policy.hiden_size]\ndistribution = uniform_pow2\nmin = 16\nmax = 64\n"
    result = check(str(write(tmp_path, text)))
    assert result.exit_code == 1
    assert "hidden_size" in result.output


def test_measuring(tmp_path: Path) -> None:
    found = record(str(write(tmp_path)), "--measure")
    estimate = found["estimate"]
    assert estimate["measured_epochs"] >= MIN_EPOCHS
    assert estimate["steps_per_second"] > 0
    assert estimate["sweep_seconds"] >= estimate["trial_seconds"]
    assert not (tmp_path / "experiments").exists()


def test_measuring_needs_the_environment(tmp_path: Path) -> None:
    assert check(str(write(tmp_path)), "--measure", "--no-environment").exit_code == 2
