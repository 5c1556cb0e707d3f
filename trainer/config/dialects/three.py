"""What published files of PufferLib 3.0, whose dialect this project speaks, hold beyond it."""

from __future__ import annotations

from trainer.config.dialects.rules import Dialect, inert, only, part_of, reword
from trainer.config.dialects.shared import SHARED

_OFF = (False, None, 0, "none")
_DRAWING = inert("it is about drawing, which environments settle in [env]")
_SKILLS = "there are no learnt skills (LSD) here, which replace the rewards"

THREE = Dialect(
    name="PufferLib 3.0",
    rules={
        **SHARED,
        "sweep.downsample": reword("sweep.downsample", {0: 1}, "the last point alone"),
        "train.min_minibatch_size": inert("minibatches keep the size that they are given"),
        "train.lsd": only(_OFF, "it is off, as here", _SKILLS),
        "train.lsd_population_size": part_of("train.lsd", _SKILLS),
        "train.lsd_skill_dim": part_of("train.lsd", _SKILLS),
        "train.render": _DRAWING,
        "train.render_interval": _DRAWING,
        "train.render_map": _DRAWING,
        "train.show_grid": _DRAWING,
        "train.show_lasers": _DRAWING,
        "train.show_human_logs": _DRAWING,
        "train.obs_only": _DRAWING,
        "train.https": inert("a web address is no setting; put # before it"),
        "train.http": inert("a web address is no setting; put # before it"),
        "wosac.enabled": only(_OFF, "it is off", "there is no WOSAC evaluation here"),
        "wosac.*": part_of("wosac.enabled", "there is no WOSAC evaluation here"),
    },
)
