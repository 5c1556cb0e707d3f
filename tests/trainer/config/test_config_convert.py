"""`convert`: what it writes loads to the same config as the old file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from sweeper.cli.convert import command
from trainer.config import load_config_file
from trainer.config.convert import convert_file
from trainer.config.files import shipped_folder
from trainer.errors import ConfigError, DialectError

if TYPE_CHECKING:
    from pathlib import Path

OLD = """\
[base]
package = invented
env_name = lake river
vec = native

[train]
num_envs = 8
learning_rate = 3e-4
norm_adv = True

[env]
depth = 3
shape = [1, 2]

[sweep.metric]
name = environment/time_ashore

[sweep.parameters.train.parameters.learning_rate]
distribution = log_uniform_values
min = 1e-5
max = 1e-1

[sweep.parameters.train.parameters.optimizer]
values = ['adam', 'muon']
"""


def write(folder: Path, text: str, name: str = "old.ini") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_new_file_loads_to_the_same_config(tmp_path: Path) -> None:
    old = write(tmp_path, OLD)
    conversion = convert_file(old)
    new = write(tmp_path, conversion.text, "new.ini")
    for environment in (None, "river"):
        converted = load_config_file(new, env_name=environment)
        assert converted == load_config_file(old, env_name=environment)
        assert converted.notes == ()
    assert "env_name = lake river" in conversion.text
    assert "gamma" not in conversion.text
    assert conversion.dialect == "PufferLib 2.0"
    assert any("train.num_envs" in note or "vec.num_envs" in note for note in conversion.notes)


def test_its_own_default_is_merged_where_it_is_named(tmp_path: Path) -> None:
    default = write(
        tmp_path, "[train]\ngamma = 0.9\nnum_envs = 4\n[sweep.train.gamma]\nmin = 0.5\n", "default.ini"
    )
    old = write(tmp_path, OLD + "\n[sweep.train.gamma]\ndistribution = uniform\nmax = 0.9\n")
    new = write(tmp_path, convert_file(old, [default]).text, "new.ini")
    converted = load_config_file(new)
    assert (converted.train.gamma, converted.vec.num_envs) == (0.9, 8)
    assert converted.sweep.parameters["train.gamma"].min == 0.5


@pytest.mark.parametrize("path", sorted(shipped_folder().rglob("*.ini")), ids=lambda path: path.stem)
def test_our_own_files_come_through_unchanged(tmp_path: Path, path: Path) -> None:
    conversion = convert_file(path)
    assert conversion.notes == ()
    new = write(tmp_path, conversion.text, "new.ini")
    assert load_config_file(new) == load_config_file(path)
    if path.stem == "classic":
        assert load_config_file(new, env_name="Pendulum-v1") == load_config_file(path, env_name="Pendulum-v1")


def test_what_has_no_counterpart(tmp_path: Path) -> None:
    old = write(tmp_path, "[vec]\ntotal_agents = 64\n[train]\nhorizon = 8\nreplay_ratio = 1.5\ngpus = 2\n")
    with pytest.raises(DialectError, match=r"2 settings.*replay_ratio.*gpus"):
        convert_file(old)
    partial = convert_file(old, partial=True)
    assert len(partial.left_out) == 2
    assert "# train.gpus: one device" in partial.text
    assert load_config_file(write(tmp_path, partial.text, "new.ini")).vec.num_envs == 64


@pytest.mark.parametrize("line", ["vf_ceof = 1", "gamma = 2"])
def test_mistakes_are_refused_and_nothing_is_written(tmp_path: Path, line: str) -> None:
    old = write(tmp_path, f"[train]\n{line}\n")
    for partial in (False, True):
        with pytest.raises(ConfigError):
            convert_file(old, partial=partial)


def test_the_command(tmp_path: Path) -> None:
    old, new = write(tmp_path, OLD), tmp_path / "made" / "new.ini"
    result = CliRunner().invoke(command, [str(old), "-o", str(new)])
    assert result.exit_code == 0, result.output
    assert "read as vec.num_envs" in result.stderr
    assert load_config_file(new) == load_config_file(old)
    again = CliRunner().invoke(command, [str(old), "-o", str(new)])
    assert isinstance(again.exception, ConfigError)
    assert CliRunner().invoke(command, [str(old), "-o", str(new), "--force"]).exit_code == 0
    shown = CliRunner().invoke(command, [str(old)])
    assert shown.stdout == new.read_text()
