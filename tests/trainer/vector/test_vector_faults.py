"""Environments that break in every way, on every backend: the run ends with an account of it and no orphan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from trainer.config import Config
from trainer.errors import EnvironmentFault, EnvironmentMakeError, FailureKind
from trainer.vector import make_vector

SEED = 100
VICTIM = 2
"""Index of the environment that breaks."""

BACKENDS = {
    "Serial": {"backend": "Serial"},
    "a worker each": {"backend": "Multiprocessing"},
    "two a worker": {"backend": "Multiprocessing", "num_workers": 2},
    "half batches": {"backend": "Multiprocessing", "num_workers": 2, "batch_size": 2},
}


def make_config(fault, timeout_seconds=60.0, **vec):
    env = {"fault": fault, "victim": SEED + VICTIM}
    vec = {"num_envs": 4, "timeout_seconds": timeout_seconds, **vec}
    return Config(base={"env_name": "planted_environments:Faulty"}, env=env, vec=vec)


def play_until_it_breaks(env):
    """Step with the action 3 everywhere until something is raised."""
    env.reset(SEED)
    for _ in range(12):
        batch = env.recv()
        env.send(torch.full((batch.num_rows, 1), 3))


def fault_of(config):
    """The fault that a config's environments end with; checks that nothing is left of them."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    env = make_vector(config, "cpu")
    try:
        with pytest.raises(EnvironmentFault) as caught:
            play_until_it_breaks(env)
        with pytest.raises(EnvironmentFault):
            env.recv()
    finally:
        env.close()
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before
    assert caught.value.failure_kind is FailureKind.ENVIRONMENT
    return str(caught.value)


@pytest.mark.parametrize("vec", BACKENDS.values(), ids=BACKENDS)
class TestOnEveryBackend:
    def test_an_exception_comes_home_with_its_traceback(self, vec):
        told = fault_of(make_config("raise", **vec))
        assert f"Environment {VICTIM} " in told
        assert "ValueError: planted in step" in told
        assert "after the action 3" in told
        assert "planted_environments.py" in told

    def test_an_exception_in_reset(self, vec):
        told = fault_of(make_config("raise in reset", **vec))
        assert f"Environment {VICTIM} " in told
        assert "planted in reset" in told

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ("nan observation", "a NaN or infinite observation"),
            ("nan reward", "a NaN or infinite reward"),
            ("wrong shape", "the shape (4,) and not (3,)"),
            ("nothing", "cannot unpack"),
        ],
    )
    def test_nonsense(self, vec, fault, said):
        told = fault_of(make_config(fault, **vec))
        assert f"Environment {VICTIM} " in told
        assert said in told
        assert "after the action" in told


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "Serial"])
class TestInWorkers:
    def test_a_worker_that_is_killed(self, name):
        told = fault_of(make_config("die", **BACKENDS[name]))
        assert f"Environment {VICTIM} " in told
        assert "killed by SIGKILL" in told
        assert "after the action 3" in told

    def test_a_worker_that_ends(self, name):
        told = fault_of(make_config("exit", **BACKENDS[name]))
        assert "exit code 7" in told

    def test_a_hang_is_noticed_and_located(self, name):
        told = fault_of(make_config("hang", timeout_seconds=1.0, **BACKENDS[name]))
        assert f"Environment {VICTIM} " in told
        assert "has not answered for 1 seconds" in told
        assert "planted_environments.py" in told
        assert "after the action 3" in told


def test_workers_end_when_their_parent_is_killed(tmp_path):
    planted = Path(__file__).parents[2] / "planted"
    script = tmp_path / "parent.py"
    script.write_text(
        f"import sys, os, signal; sys.path.insert(0, {str(planted)!r})\n"
        "from trainer.config import Config\n"
        "from trainer.vector import make_vector\n"
        "config = Config(base={'env_name': 'planted_environments:make_countdown'},"
        " vec={'num_envs': 2, 'backend': 'Multiprocessing'})\n"
        "env = make_vector(config, 'cpu'); env.reset(1); env.recv()\n"
        "import psutil\n"
        "print(*(child.pid for child in psutil.Process().children()), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    pids = [int(word) for word in parent.stdout.split()]
    assert len(pids) == 2
    alive = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, left = psutil.wait_procs(alive, timeout=30)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []


def test_a_worker_that_cannot_make_its_environment_says_why(monkeypatch):
    # The parent's probe succeeds; the worker's own attempt fails.
    config = Config(
        base={"env_name": "planted_environments:make_once"},
        env={"parent": os.getpid()},
        vec={"num_envs": 2, "backend": "Multiprocessing"},
    )
    with pytest.raises(EnvironmentMakeError, match="only in the parent"):
        make_vector(config, "cpu")
