"""The same synthetic study as the report's own tests."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "report_studies", Path(__file__).parents[1] / "report" / "conftest.py"
)
_REPORT = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_REPORT)


@pytest.fixture(scope="session")
def study_maker():
    return _REPORT.make_study
