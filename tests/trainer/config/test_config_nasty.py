"""Input as it comes: broken files, odd bytes, misspelt names. Each gets its sentence; nothing is half-read."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from trainer.config import Config, load_config, load_config_file
from trainer.config.ini import MAX_BYTES
from trainer.errors import ConfigError, ConfigFileError, PufferError, UnknownNameError


def load(folder: Path, content: str | bytes) -> Config:
    path = folder / "own.ini"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_config_file(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\ngamma = 0.9\ngamma = 0.8\n", r"line 3, \[train\] gamma: this key stands twice"),
        ("[train]\ngamma = 0.9\nGAMMA = 0.8\n", "stands twice"),
        ("[train]\ngamma = 0.9\n[env]\n[train]\n", r"line 4, \[train\]: this section stands twice"),
        ("gamma = 0.9\n", "line 1: the first setting stands before any"),
        ("[train]\ngamma\n", "line 2: this line is neither"),
        ("[train\ngamma = 1\n", "line 1"),
        ("[train]\n= 3\n", "line 2"),
        ("[Train]\ngamma = 0.9\n", r"line 1, \[Train\]: there is no section \[Train\].*Did you mean train"),
        ("[trian]\ngamma = 0.9\nx = 1\n", r"line 1.*Did you mean train"),
        ("[trian]\n", "Did you mean train"),
        ("[DEFAULT]\ngamma = 0.9\n", r"no section \[DEFAULT\]"),
        ("[train]\ngama = 0.9\n", r"line 2, \[train\] gama.*Did you mean gamma"),
        ("[train]\nvf_ceof = 0.9\n", "Did you mean vf_coef"),
        ("[train]\ngae_lamda = 0.9\n", "Did you mean gae_lambda"),
        ("[train]\nbott_horizon = 16\n", "Did you mean bptt_horizon"),
        ("[train]\nent_ceof = 16\n", "Did you mean ent_coef"),
        ("[train]\ndevice = cpul\n", r"line 2, \[train\] device.*'cpul'.*Did you mean cpu"),
        ("[train]\nframeskip = 4\n", "has no key 'frameskip'"),
        ("[train]\ngamma = 1e400\n", "line 2.*'1e400'"),
        ("[train]\ngamma = nan\n", "line 2.*'nan'"),
        ("[train]\ntotal_timesteps = 1e400\n", "a whole number"),
        ("[train]\ntotal_timesteps = 1.5\n", "a whole number"),
        ("[train]\ngamma = high\n", "a number"),
        ("[train]\ngamma = '0.9'\n", "a number"),
        ("[train]\ngamma =\n", "a number"),
        ("[train]\ncompile = maybe\n", "True or False"),
        ("[train]\nlearning_rate = 0\n", "> 0"),
        ("[train]\noptimizer = sgd\n", r"adam \| muon"),
        ("[train]\noptimizer = mun\n", "Did you mean muon"),
        ("[train]\nminibatch_size = 16384, 32768\n", "a whole number"),
        ("[env]\nname = first\n  frameskip = 4\n", "line 2.*goes on over indented lines"),
        ("[env]\nnot-a-name = 4\n", "cannot be a keyword argument"),
        ("[sweep]\nmetric = score\n[sweep.metric]\nname = score\n", "both give sweep.metric"),
        ("[sweep.gamma]\nmin = 1\n", "no section"),
        ("[sweep.train.gamma]\nmean = 0.9\n", "has no distribution"),
        ("[base]\nenv_name =\n[x:train]\ngamma = 0.9\n", "is not among the environments"),
        ("[base]\npolicy = Default\n", "Did you mean policy_name"),
        ("[vec]\nnum_envs = 1,000,0\n", "a whole number"),
        ("[train]\nlearning-rate = 0.1\n", "Did you mean learning_rate"),
    ],
)
def test_sentences(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "own.ini") in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf[train]\ngamma = 0.5\n",
        b"[train]\r\ngamma = 0.5\r\n",
        b"[train]\rgamma = 0.5\r",
        b"[train]\n\tgamma = 0.5\n",
        b"[train]\ngamma\t=\t0.5\n",
        b"[train]\ngamma:0.5\n",
        b"[train]\n# \xc3\xa4\xe2\x82\xac\ngamma = 0.5 ; \xc3\xbc\n",
        b"[train]\ngamma = 0.5",
        b"\n\n[train]\n\n\n\ngamma=0.5\n\n\n",
        b"; remark\n[train] # remark\ngamma = 0.5\n",
    ],
)
def test_harmless_oddities(tmp_path: Path, content: bytes) -> None:
    assert load(tmp_path, content).train.gamma == 0.5


def test_thousands_commas_are_read_as_the_number_and_said(tmp_path: Path) -> None:
    config = load(tmp_path, "[train]\ntotal_timesteps = 258,615,126\nbatch_size = 1,048,576\n")
    assert (config.train.total_timesteps, config.train.batch_size) == (258_615_126, 1_048_576)
    assert len(config.notes) == 2


def test_remarks_and_per_cent(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "[train]\nbptt_horizon = auto #42\nminibatch_size = 16384#32768\nbatch_size = 8192 ; or more\n"
        "name = 100%\nproject = %(name)s\n[env]\nprobability = 0,0 ; train: -0.5\n",
    )
    assert config.train.bptt_horizon == "auto"
    assert config.train.minibatch_size == 16384
    assert config.train.batch_size == 8192
    assert (config.train.name, config.train.project) == ("100%", "%(name)s")
    assert config.env["probability"] == (0, 0)


def test_a_bare_web_address_is_left_out_and_said(tmp_path: Path) -> None:
    config = load(tmp_path, "[train]\nhttps://example.org/run?x=1\ngamma = 0.5\n")
    assert config.train.gamma == 0.5
    assert any("line 2" in note and "web address" in note for note in config.notes)


def test_lists_over_several_lines(tmp_path: Path) -> None:
    config = load(tmp_path, "[env]\nsizes = [\n  84,\n  # half\n  42]\nafter = 1\n")
    assert config.env == {"sizes": [84, 42], "after": 1}


@pytest.mark.parametrize("content", ["", "\n", "# only a remark\n", "\ufeff"])
def test_an_empty_file_is_the_default(tmp_path: Path, content: str) -> None:
    assert load(tmp_path, content) == Config()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[train]\n# caf\xe9\n", "line 2.*not UTF-8"),
        ("[train]\n".encode("utf-16"), "not UTF-8"),
        (b"[train]\ngamma = 0.5\0\n", "line 2.*NUL"),
        (bytes(range(256)), "not UTF-8|NUL"),
    ],
)
def test_bytes_that_are_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ConfigFileError, match=message):
        load(tmp_path, content)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="does not exist"):
        load_config(str(tmp_path / "none.ini"))


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="folder"):
        load_config_file(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.ini"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(ConfigFileError, match="104,857,600 bytes"):
        load_config_file(path)
    assert path.stat().st_size > MAX_BYTES


def test_a_symlink_loop(tmp_path: Path) -> None:
    path = tmp_path / "loop.ini"
    path.symlink_to(tmp_path / "other.ini")
    (tmp_path / "other.ini").symlink_to(path)
    with pytest.raises(ConfigFileError, match="cannot be read"):
        load_config_file(path)


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe.ini"
    os.mkfifo(path)
    with pytest.raises(ConfigFileError, match="regular file"):
        load_config_file(path)


def test_a_name_that_no_file_system_takes() -> None:
    for name in ("a" * 5000 + ".ini", "a\0b.ini"):
        with pytest.raises(ConfigFileError):
            load_config_file(name)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.ini"
    path.write_text("[train]\n")

    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything
    with pytest.raises(ConfigFileError, match="ermission"):
        load_config_file(path)


def test_many_lines_do_not_take_long(tmp_path: Path) -> None:
    text = "[env]\n" + "".join(f"key_{number} = {number}\n" for number in range(20_000))
    assert len(load(tmp_path, text).env) == 20_000


def test_many_mistakes_are_told_in_a_bounded_message(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        load(tmp_path, "[train]\n" + "".join(f"nonsense_{number} = 1\n" for number in range(500)))
    assert "480 more" in str(caught.value)


def test_nothing_that_a_file_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = tmp_path / "planted_module.py"
    planted.write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = load(
        tmp_path,
        "[base]\npackage = planted_module\nenv_name = planted_module:make\npolicy_name = planted_module:Policy\n"
        "rnn_name = planted_module:Rnn\n[env]\nx = __import__('planted_module')\n",
    )
    assert config.base.policy_name == "planted_module:Policy"
    assert config.env["x"] == "__import__('planted_module')"
    assert "planted_module" not in sys.modules


def test_errors_keep_their_parts(tmp_path: Path) -> None:
    with pytest.raises(PufferError) as caught:
        load(tmp_path, "[train]\ngamma = 2\n")
    error = caught.value
    assert error.place is not None
    assert (error.place.line, error.place.section, error.place.key) == (2, "train", "gamma")
    assert (error.value, error.rule) == ("2", "gamma is a number >= 0 and <= 1.")
