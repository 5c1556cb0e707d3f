"""A sweep over the pretending worker, as a process that can be killed. Arguments: folder, then settings."""

from __future__ import annotations

import sys
from pathlib import Path

from planted_config import planted_config

from sweeper.launchers.cores import SlotPlan
from sweeper.launchers.local import LocalLauncher
from sweeper.loop import Sweep
from sweeper.setup import process_token


def run_planted_sweep(folder, *settings, slots=3, **options):
    config = planted_config(*settings)
    storage = folder / "studies.db"
    launcher = LocalLauncher(
        SlotPlan((None,) * slots, 1), token=process_token(storage, "planted"), worker_module="planted_worker"
    )
    return Sweep(config, storage, "planted", launcher=launcher, **options).run()


class Lines:
    """Tells standard output what happens, line by line."""

    def __getattr__(self, name):
        return lambda thing: tell(name, getattr(thing, "number", ""), getattr(thing, "state", ""))

    def on_reported(self, trial, report):
        pass

    def on_note(self, text):
        tell("note", text)


def tell(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    tell(run_planted_sweep(Path(sys.argv[1]), *sys.argv[2:], listener=Lines()).reason)
