"""Puts the config files, which lie at the top of a checkout, into the wheel as trainer/config/files.

Everything else about the build stands in pyproject.toml. An editable install reads `config/` where it is.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE = Path("config")
TARGET = Path("trainer", "config", "files")


class BuildWithConfigs(build_py):
    """`build_py`, and then the config files."""

    def run(self) -> None:
        """Build the packages and copy the configs beside them."""
        super().run()
        if self.editable_mode:
            return
        for source in sorted(SOURCE.rglob("*.ini")):
            target = self._target(source)
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:  # noqa: FBT001
        """Every file of the wheel, the configs included."""
        outputs: list[str] = super().get_outputs(include_bytecode)
        if not self.editable_mode:
            outputs += [str(self._target(source)) for source in sorted(SOURCE.rglob("*.ini"))]
        return outputs

    def _target(self, source: Path) -> Path:
        return Path(self.build_lib) / TARGET / source.relative_to(SOURCE)


setup(cmdclass={"build_py": BuildWithConfigs})
