"""The Python examples of the documentation run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
    if page.stem != "architecture"  # signatures, not a program
]


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "config" / "classic.ini", tmp_path / "my_config.ini")
    program = tmp_path / "example.py"
    # Workers are spawned: a script guards its top level, a notebook need not.
    body = "".join(f"    {line}\n" for line in example.splitlines())
    program.write_text(f'if __name__ == "__main__":\n{body}', encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()
