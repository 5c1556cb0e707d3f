"""Environments that break in every way, on every backend: the run ends with an account of it and no orphan."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from trainer.config import Config
from trainer.errors import HANG_EXIT_STATUS, EnvironmentFault, EnvironmentMakeError, FailureKind
from trainer.vector import make_vector
from trainer.vector.watchdog import Watchdog

SEED = 100
VICTIM = 2
"""Index of the environment that breaks."""

BACKENDS = {
    "Serial": {"backend": "Serial"},
    "PufferEnv": {"backend": "PufferEnv", "kind": "make_faulty_vector"},
    "agents": {"backend": "PufferEnv", "kind": "FaultyGroup"},
    "agents in workers": {"backend": "Multiprocessing", "num_workers": 2, "kind": "FaultyGroup"},
    "a worker each": {"backend": "Multiprocessing"},
    "two a worker": {"backend": "Multiprocessing", "num_workers": 2},
    "half batches": {"backend": "Multiprocessing", "num_workers": 2, "batch_size": 2},
}


HERE = ("Serial", "PufferEnv", "agents")
"""Those that step in this process."""


def make_config(fault, timeout_seconds=60.0, kind="Faulty", **vec):
    env = {"fault": fault, "victim": SEED + VICTIM}
    vec = {"num_envs": 4, "timeout_seconds": timeout_seconds, **vec}
    return Config(base={"env_name": f"planted_environments:{kind}"}, env=env, vec=vec)


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
        assert re.search("after the action .*3", told)
        assert "planted_environments.py" in told

    def test_an_environment_that_ends_the_program(self, vec):
        told = fault_of(make_config("leave", **vec))
        assert f"Environment {VICTIM} " in told
        assert "SystemExit: planted end" in told
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
            ("wrong shape", "shape"),
            ("nothing", "cannot unpack"),
        ],
    )
    def test_nonsense(self, vec, fault, said):
        told = fault_of(make_config(fault, **vec))
        assert f"Environment {VICTIM} " in told
        assert said in told
        assert "after the action" in told

    @pytest.mark.parametrize("fault", ["hang", "try again for ever"])
    def test_a_hang_is_noticed_and_located(self, vec, fault):
        told = fault_of(make_config(fault, timeout_seconds=1.0, **vec))
        assert f"Environment {VICTIM} " in told
        assert "for 0.95 seconds" in told
        assert "planted_environments.py" in told
        assert re.search("after the action .*3", told)


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in HERE])
class TestInWorkers:
    def test_a_worker_that_is_killed(self, name):
        told = fault_of(make_config("die", **BACKENDS[name]))
        assert f"Environment {VICTIM} " in told
        assert "killed by SIGKILL" in told
        assert re.search("after the action .*3", told)

    def test_a_worker_that_ends(self, name):
        told = fault_of(make_config("exit", **BACKENDS[name]))
        assert "exit code 7" in told

    def test_a_hang_in_native_code(self, name):
        told = fault_of(make_config("hang in native code", timeout_seconds=1.0, **BACKENDS[name]))
        assert f"Environment {VICTIM} " in told
        assert "has not answered for 0.95 seconds" in told
        assert "hang_in_native_code" in told


PLAY = """
import pickle, sys
sys.path.insert(0, {planted!r})
import torch
from trainer.vector import make_vector
config = pickle.loads(bytes.fromhex(sys.argv[1]))
env = make_vector(config, "cpu")
env.reset(100)
for _ in range(12):
    env.send(torch.full((env.recv().num_rows, 1), 3))
"""


def play_elsewhere(config):
    """Step until it breaks in a process that it may take with it."""
    planted = str(Path(__file__).parents[2] / "planted")
    return subprocess.run(
        [sys.executable, "-c", PLAY.format(planted=planted), pickle.dumps(config).hex()],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", HERE)
class TestInThisProcess:
    def test_a_hang_in_native_code_ends_the_process_with_an_account(self, name):
        ended = play_elsewhere(make_config("hang in native code", timeout_seconds=1.0, **BACKENDS[name]))
        assert ended.returncode == HANG_EXIT_STATUS, ended.stderr
        assert f"Environment {VICTIM} " in ended.stderr
        assert "has not come back for 0.95 seconds" in ended.stderr
        assert "hang_in_native_code" in ended.stderr
        assert re.search("after the action .*3", ended.stderr)

    def test_the_signal_is_given_back(self, name):
        before = signal.getsignal(signal.SIGURG), threading.active_count()
        fault_of(make_config("raise", **BACKENDS[name]))
        assert (signal.getsignal(signal.SIGURG), threading.active_count()) == before

    def test_a_hang_in_another_thread_than_the_main_one(self, name):
        told = []

        def run():
            told.append(fault_of(make_config("count for ever", timeout_seconds=1.0, **BACKENDS[name])))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert f"Environment {VICTIM} " in told[0]


def test_a_step_is_forgiven_the_time_for_which_the_process_stood_still():
    watchdog = Watchdog(0.001, lambda: "")
    with watchdog:
        deadline = time.monotonic() + 0.01
        while time.monotonic() < deadline:
            pass
        assert not watchdog.look(stood_still_seconds=1.0)
    watchdog.close()


def test_a_long_time_between_two_steps_is_no_hang():
    env = make_vector(make_config("none", timeout_seconds=0.2, backend="Serial"), "cpu")
    env.reset(SEED)
    for _ in range(3):
        batch = env.recv()
        threading.Event().wait(0.3)
        env.send(torch.full((batch.num_rows, 1), 3))
    env.recv()
    env.close()


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
