"""Completion in the shell: configs, settings of a config, values of a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from sweeper.cli import cli

if TYPE_CHECKING:
    from pathlib import Path


def complete(*words: str) -> list[str]:
    shell = ShellComplete(cli, {}, "puffer-sweep", "_PUFFER_SWEEP_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.ini").write_text(
        "[env]\ndepth = 1\n[sweep.train.gamma]\ndistribution = uniform\nmin = 0.1\nmax = 0.9\n"
    )
    return "own.ini"


@pytest.mark.parametrize("command", ["start", "check", "train"])
def test_settings_are_completed(own: str, command: str) -> None:
    assert set(complete(command, own, "--train.ga")) == {"--train.gamma", "--train.gae_lambda"}
    assert complete(command, own, "--train.learning-r") == ["--train.learning-rate"]
    assert complete(command, own, "--env.") == ["--env.depth"]
    assert "--sweep.train.gamma.max" in complete(command, own, "--sweep.train.gamma.m")
    assert complete(command, own, "--policy-n") == ["--policy-name"]


def test_settings_are_completed_without_a_config() -> None:
    assert complete("start", "--train.gam") == ["--train.gamma"]


def test_values_are_completed(own: str) -> None:
    assert complete("start", own, "--train.optimizer", "") == ["adam", "muon"]
    assert complete("start", own, "--train.optimizer", "mu") == ["muon"]
    assert complete("start", own, "--train.compile", "") == ["True", "False"]
    assert complete("start", own, "--train.gamma", "") == []


def test_own_options_are_still_completed(own: str) -> None:
    assert "--no-environment" in complete("check", own, "--no")


def test_configs_are_completed(own: str) -> None:
    assert complete("check", "ow") == ["own.ini"]
    assert "CartPole-v1" in complete("check", "Cart")


def test_a_broken_config_does_not_break_the_shell(own: str, tmp_path: Path) -> None:
    (tmp_path / "own.ini").write_text("[train]\nvf_ceof = 1\n")
    assert complete("start", own, "--train.gam") == ["--train.gamma"]
