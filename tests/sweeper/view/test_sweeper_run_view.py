"""A run in the terminal: everything that is measured is to be seen, however narrow the screen is."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from sweeper.view.run_view import JsonRunView, LineRunView, ScreenRunView
from trainer.config import Config
from trainer.records import Progress

METRICS = {
    "seconds/environment": 0.2,
    "seconds/forward": 0.19,
    "seconds/learn": 0.6,
    "seconds/copy": 0.005,
    "seconds/other": 0.005,
    "usage/processors": 1.9,
    "usage/memory_bytes": 475e6,
    "usage/device_share": 0.875,
    "usage/device_memory_bytes": 2.5e9,
    "losses/policy": -0.00443,
    "losses/value": 0.221,
    "losses/entropy": 0.708,
    "losses/kl": 0.00473,
    "losses/clip_fraction": 0.0585,
    "losses/explained_variance": 0.987,
}
PROGRESS = Progress(3, 10, 131_072, 393_216, 65.0, 1_840.0, 4.338, METRICS)


def drawn(width: int, *progress: Progress) -> list[str]:
    console = Console(
        file=io.StringIO(),
        width=width,
        height=30,
        force_terminal=True,
        color_system=None,
        legacy_windows=False,
    )
    view = ScreenRunView(Config(), console)
    for one in progress:
        view.on_progress(one)
    with console.capture() as capture:
        console.print(view._draw())
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_nothing_is_cut_off(width: int) -> None:
    lines = drawn(width, PROGRESS)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    for words in ("time in environment 20 %", "learn 60 %", "uses 1.9 cores", "of memory", "GPU 88 %",
                  "on the GPU", "losses policy", "clip fraction 0.0585", "explained variance 0.987"):  # fmt: skip
        assert words in text


def test_a_wide_screen_needs_a_line_for_each_row() -> None:
    assert len(drawn(160, PROGRESS)) == 7


def test_before_the_first_epoch_it_says_what_it_does() -> None:
    assert drawn(60)[-1] == "making environments …"


@pytest.mark.parametrize(
    ("asked", "said"),
    [("auto", "2 environments on Serial, the best for it here\n"), ("Serial", "2 environments on Serial\n")],
)
def test_it_says_once_on_which_backend_the_environments_run(asked: str, said: str) -> None:
    progress = replace(PROGRESS, backend="Serial")
    stream = io.StringIO()
    view = LineRunView(Config(vec={"backend": asked}), stream)
    view.on_progress(progress)
    view.on_progress(progress)
    assert stream.getvalue().count("environments on") == 1
    assert said in stream.getvalue()
    assert "on Serial" in drawn(80, progress)[0]
    JsonRunView(stream := io.StringIO()).on_progress(progress)
    assert json.loads(stream.getvalue())["backend"] == "Serial"
