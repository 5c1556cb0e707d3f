"""A sweep on a real PostgreSQL, started for the test on loopback from the system's package."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from planted_config import planted_config

from sweeper.clock import VirtualClock
from sweeper.launchers.simulated import Epoch, SimulatedLauncher
from sweeper.loop import Sweep
from sweeper.records import TrialState
from sweeper.store import open_store

pytestmark = pytest.mark.slow


def program(name):
    found = shutil.which(name)
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found or (str(versions[-1]) if versions else None)


@pytest.fixture(scope="module")
def postgres():
    pytest.importorskip("psycopg")
    if program("initdb") is None or program("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed")
    # Outside pytest's own folders, which only their owner may enter: initdb refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="puffer-sweep-postgres-"))
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"

    def run(*command):
        subprocess.run([*as_user, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    run(program("initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-N")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run(program("pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    run(program("pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


def rising(assignment):
    total = assignment.config.train.total_timesteps
    for number in range(1, 21):
        yield Epoch(total * number // 20, 1.0, float(number), metrics={"a": 0.5})


def test_a_sweep_and_its_continuation(postgres, tmp_path):
    clock = VirtualClock()
    for max_runs in (5, 8):
        config = planted_config("--sweep.max-runs", str(max_runs), "--sweep.pruner", "promotion")
        launcher = SimulatedLauncher(3, clock, rising)
        outcome = Sweep(config, postgres, "elephants", tmp_path, launcher=launcher, clock=clock).run()
        assert sum(outcome.counts.values()) == max_runs
    store = open_store(postgres, must_exist=True, clock=clock)
    study = store.open("elephants")
    trials = study.trials()
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    mirrored = study.optuna_study.trials
    assert [m.params for m in mirrored] == [dict(t.values) for t in trials]
    for trial in trials:
        assert [p.agent_steps for p in study.curve(trial.uuid)] == list(
            range(500, trial.agent_steps + 1, 500)
        )
    assert study.best().score == max(t.score for t in trials if t.state is TrialState.COMPLETE)
    store.delete("elephants")
    assert store.studies() == []
    store.close()
