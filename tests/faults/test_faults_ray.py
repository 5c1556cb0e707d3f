"""A node of a Ray cluster is killed: its trial goes on elsewhere, from its checkpoint."""

from __future__ import annotations

import warnings

import pytest
from planted_config import planted_config
from planted_sweep import assert_whole

from sweeper.launchers.ray_cluster import RayLauncher
from sweeper.listener import Silence
from sweeper.loop import Sweep
from sweeper.records import TrialState

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.doomed = made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield made
        made.shutdown()


class KillNode(Silence):
    """Kills the second node once both trials have reported often enough to have a checkpoint."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.reports = {}

    def on_reported(self, trial, report):
        self.reports[trial.number] = report.epoch
        doomed = self.cluster.doomed
        if doomed is not None and sum(epoch >= 3 for epoch in self.reports.values()) >= 2:
            self.cluster.doomed = None
            self.cluster.remove_node(doomed, allow_graceful=False)


@pytest.mark.parametrize("shared_folders", [True, False])
def test_a_lost_node_is_a_retry_elsewhere(cluster, tmp_path, shared_folders):
    config = planted_config("--sweep.max-runs", "4", "--env.seconds", "0.3", "--sweep.retries", "2")
    launcher = RayLauncher(
        address=cluster.address, servant="planted_worker:Pretender", shared_folders=shared_folders
    )
    assert launcher.slots == 2
    listener = KillNode(cluster)
    Sweep(config, tmp_path / "studies.db", "planted", launcher=launcher, listener=listener).run()
    assert cluster.doomed is None
    study = assert_whole(tmp_path, 4)
    trials = study.trials()
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    again = [trial for trial in trials if trial.attributes["attempts"] == 2]
    assert again
    assert all("worker_lost" in trial.attributes["last_failure"] for trial in again)
    assert any(trial.attributes.get("restarts") for trial in again)
