"""Optimisers: Adam, and Muon with Adam for what Muon does not take."""

from trainer.optimizers.choice import make_optimizer, set_learning_rate
from trainer.optimizers.muon import Muon

__all__ = ["Muon", "make_optimizer", "set_learning_rate"]
