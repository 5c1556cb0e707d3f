"""Draws terminal.svg: runs a real sweep and keeps one moment of its live screen.

    python docs/images/capture_terminal.py docs/images/terminal.svg

What the picture shows is what the screen shows at that moment, hardware included; the command in its title is the
sweep that runs. The study lies in a temporary folder.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweeper import Sweep
from sweeper.cli.start import make_board
from sweeper.view.listeners import ScreenListener
from trainer.config import load_config, parse_overrides

if TYPE_CHECKING:
    from sweeper.records import Reported, Trial

FLAGS = ("--sweep.max-runs", "60", "--train.total-timesteps", "60000", "--sweep.max-hours", "0.2")
COMMAND = " ".join(("puffer-sweep start CartPole-v1", *FLAGS))
WIDTH, HEIGHT = 112, 26
ENDED = 8
"""The moment: so many trials have ended or paused, and every slot holds a trial with a curve."""


class OneMoment(ScreenListener):
    """The live screen of `puffer-sweep start`, which keeps one picture of itself and then ends the sweep."""

    svg = ""
    sweep: Sweep

    def on_reported(self, trial: Trial, report: Reported) -> None:
        """An epoch of a running trial: is this the moment?"""
        super().on_reported(trial, report)
        busy = [run for run in self.board.running.values() if run.scores]
        if not self.svg and len(self.board.trials) >= ENDED and len(busy) == self.board.slots:
            picture = Console(
                record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
            )
            picture.print(self._picture(WIDTH, HEIGHT))
            self.svg = picture.export_svg(title=COMMAND)
            self.sweep.stop()


def main(target: Path) -> None:
    """Run, keep the moment, write."""
    config = load_config("CartPole-v1", parse_overrides(FLAGS))
    console = Console(file=sys.stderr, force_terminal=True, width=WIDTH, height=HEIGHT)
    with tempfile.TemporaryDirectory(prefix="puffer-sweep-") as folder:
        listener = OneMoment(make_board(config, "cartpole"), console)
        listener.sweep = Sweep(config, Path(folder) / "studies.db", "cartpole", listener=listener)
        with listener:
            listener.sweep.run()
    if not listener.svg:
        raise SystemExit("The sweep ended before the moment came.")
    target.write_text(listener.svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
