"""What the machine says of itself."""

from __future__ import annotations

import pytest

from trainer import machine


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16", True),
        ("flags\t\t: fpu avx2 amx_bf16", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("Features\t: fp asimd bf16", True),
        ("Features\t: fp asimd", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_from_the_processors_flags(monkeypatch, tmp_path, line, expected) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\nmodel name\t: Some\n{line}\n\nprocessor\t: 1\nflags\t: avx512_bf16\n")
    monkeypatch.setattr(machine, "Path", lambda _: told)
    machine._told_by_the_system.cache_clear()
    try:
        assert machine.multiplies_bfloat16() is expected
        assert machine.processor_name() == "Some"
    finally:
        machine._told_by_the_system.cache_clear()


def test_a_system_that_does_not_tell_has_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "missing")
    machine._told_by_the_system.cache_clear()
    try:
        assert machine.multiplies_bfloat16() is False
        assert machine.processor_name()
    finally:
        machine._told_by_the_system.cache_clear()
