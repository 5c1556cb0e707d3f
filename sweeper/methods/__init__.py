"""Search methods: what runs next, and how far. `make_method` is the door."""

from __future__ import annotations

from sweeper.methods.base import Method
from sweeper.methods.registry import make_method, make_pruner

__all__ = ["Method", "make_method", "make_pruner"]
