"""Waits beside a sweep and, when the sweep is gone, kills whatever its workers have left. `python -m` runs it.

The kernel kills the workers themselves when the sweep dies; processes that those had started would live on.
Its standard input is a pipe that nobody writes to: its end is the sweep's end.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from sweeper.launchers.process_tree import bearers, kill_bearers


def main() -> None:
    """Wait for the end of the standard input, then kill the bearers of the token named on the command line."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    token = sys.argv[1]
    while os.read(0, 1):
        pass
    # Workers that are just being forked by a dying one show up in the second round.
    while bearers(token):
        kill_bearers(token)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
