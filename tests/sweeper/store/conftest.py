"""A store, a study in it and its ledger, on a virtual clock."""

from __future__ import annotations

import pytest
from planted_ledger import spec

from sweeper.clock import VirtualClock
from sweeper.store import open_store
from sweeper.store.ledger import Ledger


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(tmp_path, clock):
    made = open_store(tmp_path / "studies.db", clock=clock)
    yield made
    made.close()


@pytest.fixture
def study(store, tmp_path):
    return store.create(spec(tmp_path))


@pytest.fixture
def ledger(study, clock):
    made = Ledger(study, clock)
    yield made
    made.writer.close()
