"""Other dialects of the same INI: which one a file speaks, and what its settings are called here."""

from __future__ import annotations

from trainer.config.dialects.recognise import recognise
from trainer.config.dialects.rules import Dialect
from trainer.config.dialects.translate import Layer, Refusal, Translated, refusal_error, translate

__all__ = ["Dialect", "Layer", "Refusal", "Translated", "recognise", "refusal_error", "translate"]
