"""Published files of five dialects: each loads, or is refused with file, line, key and rule.

PUFFER_SWEEP_CORPUS names their folder. The tests of the dialects do without them.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer.config import Config, dump_config, load_config_file
from trainer.config.convert import convert_file
from trainer.config.files import split_names
from trainer.config.ini import read_ini
from trainer.errors import ConfigError, DialectError, InfeasibleConfigError, PufferError, UnknownNameError

CORPUS = os.environ.get("PUFFER_SWEEP_CORPUS")
pytestmark = pytest.mark.skipif(not CORPUS, reason="PUFFER_SWEEP_CORPUS does not name the published files")


@dataclass(frozen=True)
class Row:
    file: Path
    dialect: str
    defaults: tuple[Path, ...]
    outcome: str


def read_rows() -> list[Row]:
    if not CORPUS:
        return []
    root = Path(CORPUS)
    with (root / "manifest.tsv").open(newline="") as file:
        return [
            Row(
                root / line["file"],
                line["dialect"],
                tuple(root / line[key] for key in ("default_file", "sub_default_file") if line[key]),
                line["emulated_outcome"] or "",
            )
            for line in csv.DictReader(file, delimiter="\t")
        ]


ROWS = read_rows()


def load(row: Row) -> Config | PufferError:
    try:
        return load_config_file(row.file, default_files=row.defaults)
    except PufferError as error:
        return error


@pytest.fixture(scope="module")
def results() -> dict[Row, Config | PufferError]:
    return {row: load(row) for row in ROWS}


def refused(results: dict[Row, Config | PufferError], dialect: str, *, ok_only: bool) -> list[Row]:
    return [
        row
        for row, result in results.items()
        if row.dialect == dialect
        and isinstance(result, PufferError)
        and (row.outcome.startswith("ok") or not ok_only)
    ]


def test_all_are_there() -> None:
    assert len(ROWS) == 157


def test_each_loads_or_is_refused_with_its_place(results: dict[Row, Config | PufferError]) -> None:
    for row, result in results.items():
        if isinstance(result, PufferError):
            assert isinstance(result, ConfigError), row.file
            assert result.place is not None, row.file
            assert result.place.file is not None, row.file
            assert result.place.line, row.file
            assert result.place.section, row.file
            assert result.rule or result.remedy or result.value, row.file


def test_each_loads_or_is_refused_over_our_own_default() -> None:
    for row in ROWS:
        for fill_in in (True, False):
            try:
                load_config_file(row.file, fill_in_default=fill_in)
            except ConfigError as error:
                assert str(row.file) in str(error)  # noqa: PT017


def test_the_number_of_swept_parameters_is_the_stated_one(results: dict[Row, Config | PufferError]) -> None:
    # The statement counts what is declared, before sweep_only.
    wrong = {
        row.file.name: (row.outcome, len(result.sweep.parameters) + len(result.sweep.unswept))
        for row, result in results.items()
        if isinstance(result, Config)
        and (stated := re.fullmatch(r"ok:.*:(\d+) params", row.outcome))
        and int(stated[1]) != len(result.sweep.parameters) + len(result.sweep.unswept)
    }
    assert wrong == {}


def test_few_are_refused(results: dict[Row, Config | PufferError]) -> None:
    counts = Counter(row.dialect for row in ROWS)
    assert counts["2.0"] - len(refused(results, "2.0", ok_only=False)) >= 40
    for dialect in ("2.5", "3.0", "3.0-late"):
        fine = [row for row in ROWS if row.dialect == dialect and row.outcome.startswith("ok")]
        assert len(refused(results, dialect, ok_only=True)) * 10 <= len(fine), dialect


def test_what_is_refused_has_a_reason_out_of_a_short_list(results: dict[Row, Config | PufferError]) -> None:
    for row, result in results.items():
        if isinstance(result, PufferError) and row.outcome.startswith("ok"):
            # A misspelt name, or a setting without counterpart; nothing else.
            assert isinstance(result, DialectError | UnknownNameError), (row.file, result)
            assert not isinstance(result, InfeasibleConfigError)


def test_what_loads_is_dumped_and_loaded_again(
    results: dict[Row, Config | PufferError], tmp_path: Path
) -> None:
    path = tmp_path / "again.ini"
    for row, result in results.items():
        if isinstance(result, Config):
            path.write_text(dump_config(result))
            assert load_config_file(path) == result, row.file


def test_the_table(results: dict[Row, Config | PufferError], capsys: pytest.CaptureFixture[str]) -> None:
    table = Counter(
        (row.dialect, type(r).__name__ if isinstance(r, PufferError) else "loads")
        for row, r in results.items()
    )
    with capsys.disabled():
        sys.stdout.write("\n\ndialect      outcome                 files\n")
        for (dialect, outcome), count in sorted(table.items()):
            sys.stdout.write(f"{dialect:<12} {outcome:<22} {count:>6}\n")
    assert sum(table.values()) == len(ROWS)


def test_reading_all_of_them_imports_nothing(tmp_path: Path) -> None:
    probe = (
        "import sys; from pathlib import Path; from trainer.config import load_config_file\n"
        "from trainer.errors import PufferError\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "for path in Path(sys.argv[1]).rglob('*.ini'):\n"
        "    try: load_config_file(path)\n"
        "    except PufferError: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - before))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", probe, str(CORPUS)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert answer.stdout.strip() == "[]"


def test_what_loads_is_converted_to_the_same_config(
    results: dict[Row, Config | PufferError], tmp_path: Path
) -> None:
    path = tmp_path / "converted.ini"
    for row, result in results.items():
        if isinstance(result, Config):
            path.write_text(convert_file(row.file, row.defaults).text)
            converted = load_config_file(path)
            assert converted == result, row.file


def test_what_is_refused_for_lack_of_a_counterpart_is_converted_in_part(
    results: dict[Row, Config | PufferError], tmp_path: Path
) -> None:
    path = tmp_path / "converted.ini"
    for row, result in results.items():
        if isinstance(result, DialectError) and "Further mistakes" not in str(result):
            path.write_text(convert_file(row.file, row.defaults, partial=True).text)
            assert load_config_file(path).base.env_name == load_name(row)


def load_name(row: Row) -> str | None:
    base = read_ini(row.file).find("base")
    named = None if base is None else base.entries.get("env_name")
    return next(iter(split_names(None if named is None else named.value)), None)
