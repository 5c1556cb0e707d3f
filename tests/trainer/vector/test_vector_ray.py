"""The Ray backend: the same trajectories, the same faults, and nobody else's Ray shut down."""

from __future__ import annotations

import warnings

import pytest
import torch

from trainer.config import Config
from trainer.errors import EnvironmentFault, EnvironmentMakeError
from trainer.vector import make_vector

ray = pytest.importorskip("ray", reason="the extra ray is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def make_config(name, backend, env=None, **vec):
    vec = {"num_envs": 4, "num_workers": 2, "timeout_seconds": 120, **vec, "backend": backend}
    return Config(base={"env_name": f"planted_environments:{name}"}, env=env or {}, vec=vec)


@pytest.fixture(scope="module", autouse=True)
def somebody_elses_ray():
    """One Ray for all tests: starting it takes seconds."""
    begin_ray()
    yield
    ray.shutdown()


def begin_ray():
    """One of our own, whatever other tests have left behind or run beside this."""
    ray.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error"
        )


def play(env, steps=30):
    env.reset(7)
    seen = []
    for step in range(steps):
        for _ in range(env.num_agents // env.batch_agents):
            batch = env.recv()
            told = batch.episodes
            seen.append(
                (
                    batch.first_row,
                    batch.observations.tolist(),
                    batch.rewards.tolist(),
                    batch.truncated.tolist(),
                    None if told is None else (told.rows.tolist(), told.returns.tolist()),
                    None
                    if batch.final_observations is None
                    else batch.final_observations.observations.tolist(),
                )
            )
            env.send(torch.full((batch.num_rows, env.action_layout.width), step % 2))
    return seen


@pytest.mark.parametrize(("name", "batch_size"), [("make_countdown", 4), ("Meeting", 2)])
def test_trajectories_are_those_of_worker_processes(name, batch_size):
    played = {}
    for backend in ("Multiprocessing", "Ray"):
        env = make_vector(make_config(name, backend, batch_size=batch_size), "cpu")
        try:
            played[backend] = play(env)
            assert play(env) == played[backend]
        finally:
            env.close()
    assert played["Ray"] == played["Multiprocessing"]


def told_of(fault, victim, **vec):
    """What is said of a fault in the environment with seed `victim` of those from 100 on."""
    config = make_config("Faulty", "Ray", {"fault": fault, "victim": victim}, **vec)
    vector = make_vector(config, "cpu")
    try:
        vector.reset(100)
        with pytest.raises(EnvironmentFault) as caught:  # noqa: PT012 - it comes in one of the steps
            for _ in range(6):
                vector.recv()
                vector.send(torch.full((4, 1), 3))
    finally:
        vector.close()
    return str(caught.value)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise", "planted in step"),
        ("die", "died"),
        ("nan reward", "NaN or infinite reward"),
        ("leave", "SystemExit: planted end"),
        ("hang in native code", "has not answered for 2.85 seconds"),
    ],
)
def test_faults(fault, said):
    timeout = 3.0 if "hang" in fault else 60.0
    told = told_of(fault, 102, timeout_seconds=timeout, num_workers=4)
    assert said in told
    assert "Environment 2 (Ray)" in told
    assert "after the action" in told


def test_a_hang_is_located_among_the_environments_of_an_actor():
    told = told_of("hang", 103, timeout_seconds=3.0)
    assert "Environment 3 (Ray) has not come back for" in told
    assert "after the action 3" in told
    assert "planted_environments.py" in told


def test_a_ray_that_runs_already_is_left_running():
    env = make_vector(make_config("make_countdown", "Ray"), "cpu")
    env.close()
    env.close()
    assert ray.is_initialized()


def test_a_ray_of_our_own_is_ended_with_the_environments(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.shutdown()
    try:
        env = make_vector(make_config("make_countdown", "Ray"), "cpu")
        assert ray.is_initialized()
        assert len(play(env, steps=5)) == 5
        env.close()
        assert not ray.is_initialized()
    finally:
        begin_ray()


def test_a_cluster_that_does_not_answer_is_an_error(monkeypatch):
    ray.shutdown()
    try:
        monkeypatch.setenv("RAY_ADDRESS", "no address")
        with pytest.raises(EnvironmentMakeError, match=r"RAY_ADDRESS.*RAY_AUTH_TOKEN"):
            make_vector(make_config("make_countdown", "Ray"), "cpu")
    finally:
        monkeypatch.undo()
        begin_ray()
