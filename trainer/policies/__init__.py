"""Policies: what turns observations into scores of actions and values."""

from trainer.policies.base import Agent, Body, FeedForward, Head, ObservationNormaliser, State
from trainer.policies.precision import Compute, make_compute
from trainer.policies.registry import make_policy
from trainer.policies.sampling import ActionDistribution, make_distribution

__all__ = [
    "ActionDistribution",
    "Agent",
    "Body",
    "Compute",
    "FeedForward",
    "Head",
    "ObservationNormaliser",
    "State",
    "make_compute",
    "make_distribution",
    "make_policy",
]
