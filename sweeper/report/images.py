"""Figures as PNG files, drawn by a headless Chromium or Chrome that is installed on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from plotly.offline import get_plotlyjs

from sweeper.errors import SweepError
from sweeper.report.page import page_sections
from trainer.errors import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    import plotly.graph_objects as go

    from sweeper.report.study_view import StudyView

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTH = 1100
SCALE = 2
HEADING = 40
"""Pixels above a figure for its name."""

_TIMEOUT_SECONDS = 60
_DRAWING_MILLISECONDS = 3000

_PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: white }} h1 {{ margin: 0; padding: 10px 14px 0; height: {heading}px;
box-sizing: border-box; font: 600 17px system-ui, sans-serif; color: #2b3340 }}</style>
<h1>{title}</h1><div id="figure" style="width:{width}px;height:{height}px"></div><script src="plotly.min.js"></script>
<script>const figure = {figure}; Plotly.newPlot("figure", figure.data, figure.layout, {{ staticPlot: true }});</script>
"""


def write_images(study: StudyView, folder: Path) -> Iterator[Path]:
    """Draws every figure of the report into a folder; hands back each path as it is written.

    Raises:
        SweepError: no browser is installed, or it fails, or the folder cannot be written.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SweepError(
            "Figures as PNG files need a browser to draw them, and none is installed.",
            rule=f"Looked for {', '.join(BROWSERS)}.",
            remedy="Install Chromium, or save figures from the report with the camera above them.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(
            f"The folder cannot be made: {error.strerror}.", place=Place(file=str(folder))
        ) from error
    with tempfile.TemporaryDirectory(prefix="puffer-sweep-") as workshop:
        (Path(workshop) / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
        for section in page_sections(study):
            for drawing in section.drawings:
                title = f"{drawing.note}.{drawing.title}" if drawing.note else drawing.title or section.title
                name = f"effect-{title}" if drawing.note else drawing.id
                path = folder / f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', name)}.png"
                _draw(browser, Path(workshop), drawing.figure, drawing.height, title, path)
                yield path


def _draw(browser: str, workshop: Path, figure: go.Figure, height: int, title: str, path: Path) -> None:
    page, image = workshop / "page.html", workshop / "image.png"
    image.unlink(missing_ok=True)
    json = (figure.to_json() or "{}").replace("<", "\\u003c")
    page.write_text(
        _PAGE.format(width=WIDTH, height=height, figure=json, title=escape(title), heading=HEADING),
        encoding="utf-8",
    )
    command = [
        browser,
        "--headless",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-background-networking",
        f"--user-data-dir={workshop / 'profile'}",
        f"--window-size={WIDTH},{height + HEADING}",
        f"--force-device-scale-factor={SCALE}",
        f"--virtual-time-budget={_DRAWING_MILLISECONDS}",
        f"--screenshot={image}",
        page.as_uri(),
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # Chromium refuses root with its sandbox
        command.insert(1, "--no-sandbox")
    try:
        done = subprocess.run(  # noqa: S603 - the browser was looked up, the page is ours
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SweepError(f"The browser did not answer within {_TIMEOUT_SECONDS} s.", value=browser) from error
    if not image.is_file():
        last = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise SweepError(f"The browser has drawn nothing: {last[0]}.", value=browser)
    shutil.move(image, path)
