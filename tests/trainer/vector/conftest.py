from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def planted_environments(monkeypatch):
    """Environments for tests can be imported by name, in worker processes too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "planted"))
