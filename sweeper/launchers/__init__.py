"""Where trials run: warm local processes, a Ray cluster, or a simulation on a virtual clock."""

from sweeper.launchers.base import Launcher

__all__ = ["Launcher"]
