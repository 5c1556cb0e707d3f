"""What only local workers can run into."""

from __future__ import annotations

import pytest
from planted_config import planted_config

from sweeper.launchers.cores import SlotPlan
from sweeper.launchers.local import LocalLauncher
from trainer.errors import PufferError


@pytest.fixture
def launcher():
    made = LocalLauncher(SlotPlan((None,), 1), worker_module="planted_worker")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def planted(monkeypatch, request):
    monkeypatch.syspath_prepend(str(request.config.rootpath / "tests" / "planted"))


def survey(launcher, folder, num_kills):
    left = folder / "left"
    left.write_text("x" * num_kills)
    return launcher.survey(planted_config("--env.fault", "killed in survey", "--env.left", str(left)))


def test_a_worker_killed_while_it_makes_the_environment_is_replaced(launcher, tmp_path):
    assert survey(launcher, tmp_path, 2).environment.agents_per_env == 1
    assert launcher.free_slots() == 1


def test_an_environment_that_kills_every_worker_is_refused(launcher, tmp_path):
    with pytest.raises(PufferError, match="ended the worker process"):
        survey(launcher, tmp_path, 9)
    assert (tmp_path / "left").read_text() == "x" * 6
