"""How a machine is divided among trials."""

from __future__ import annotations

import math

import pytest

from sweeper.launchers import gpus
from sweeper.launchers.cores import cgroup_cores, plan_slots, usable_cores
from sweeper.launchers.worker_environment import worker_environment


@pytest.mark.parametrize(
    ("asked", "slots", "threads"),
    [
        ({"num_cores": 8}, 8, 1),
        ({"num_cores": 1}, 1, 1),
        ({"num_cores": 8, "workers": 1}, 1, 2),
        ({"num_cores": 8, "workers": 2}, 2, 4),
        ({"num_cores": 8, "workers": 20}, 20, 1),
        ({"num_cores": 8, "env_workers": 3}, 2, 1),
        ({"num_cores": 2, "env_workers": 7}, 1, 1),
        ({"num_cores": 8, "num_threads": 4}, 2, 4),
        ({"num_cores": 16, "gpus": (0, 1)}, 2, 8),
        ({"num_cores": 16, "gpus": (0, 1), "trials_per_gpu": 3}, 6, 2),
    ],
)
def test_division(asked, slots, threads):
    plan = plan_slots(**{"workers": None, "gpus": (), "trials_per_gpu": 1, **asked})
    assert (plan.num_slots, plan.num_threads) == (slots, threads)


def test_gpus_are_dealt_round():
    plan = plan_slots(workers=5, gpus=(0, 2), trials_per_gpu=2, num_cores=8)
    assert plan.gpus == (0, 2, 0, 2, 0)


def test_cores_of_control_groups(tmp_path):
    own = tmp_path / "cgroup"
    root = tmp_path / "root"
    inner = root / "a" / "b"
    inner.mkdir(parents=True)
    own.write_text("0::/a/b\n", encoding="ascii")
    assert cgroup_cores(root, own) == math.inf
    (inner / "cpu.max").write_text("max 100000\n", encoding="ascii")
    (root / "a" / "cpu.max").write_text("150000 100000\n", encoding="ascii")
    assert cgroup_cores(root, own) == 1.5
    own.write_text("3:cpu,cpuacct:/a\n", encoding="ascii")
    (root / "cpu,cpuacct" / "a").mkdir(parents=True)
    (root / "cpu,cpuacct" / "a" / "cpu.cfs_quota_us").write_text("-1", encoding="ascii")
    (root / "cpu,cpuacct" / "a" / "cpu.cfs_period_us").write_text("100000", encoding="ascii")
    assert cgroup_cores(root, own) == math.inf
    (root / "cpu,cpuacct" / "a" / "cpu.cfs_quota_us").write_text("300000", encoding="ascii")
    assert cgroup_cores(root, own) == 3.0
    assert cgroup_cores(root, tmp_path / "none") == math.inf
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("text", "entries"),
    [("0,2", ("0", "2")), ("", ()), ("1,-1,2", ("1",)), ("GPU-12ab, 3", ("GPU-12ab", "3")), ("none", ())],
)
def test_visible_devices(text, entries):
    assert gpus.visible_devices(text) == entries


def test_a_worker_s_environment_is_settled_before_torch(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    settings = worker_environment(3, 1, "token")
    assert settings["OMP_WAIT_POLICY"] == "PASSIVE"
    assert settings["OMP_NUM_THREADS"] == "3"
    assert settings["CUDA_VISIBLE_DEVICES"] == "6"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert worker_environment(1, 1, "token")["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment(1, None, "token")
