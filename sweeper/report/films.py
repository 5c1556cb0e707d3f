"""Films in a report: the best agent's inside the page, all others as links beside it."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from sweeper.report.study_view import StudyView

LARGEST_PAGE_BYTES = 5_900_000
LARGEST_FILM_BYTES = 800_000
SMALLEST_FILM_BYTES = 20_000
"""Room for less is not worth a film."""


def film_inside(study: StudyView, most_bytes: int) -> dict[str, Any] | None:
    """The best agent's film, or its beginning, as a `data:` address of at most so many bytes; None without one."""
    best = study.best
    path = None if best is None else study.videos.get(best.number)
    # Base64 makes four bytes of three.
    most_bytes = min(most_bytes - 4096, LARGEST_FILM_BYTES) * 3 // 4
    if path is None or best is None or most_bytes < SMALLEST_FILM_BYTES:
        return None
    content = excerpt(path, most_bytes)
    if content is None:
        return None
    return {
        "number": best.number,
        "address": "data:video/mp4;base64," + base64.b64encode(content).decode(),
        "is_cut": len(content) < path.stat().st_size,
    }


def film_links(study: StudyView, folder: Path | None) -> list[tuple[int, str]]:
    """Trial numbers and addresses of all films, relative to the page's folder, best trials first."""
    order = {trial.number: place for place, trial in enumerate(study.ranking)}
    numbers = sorted(study.videos, key=lambda number: (order.get(number, len(order)), number))
    if folder is None:
        return [(number, study.videos[number].as_uri()) for number in numbers]
    return [
        (number, quote(os.path.relpath(study.videos[number], folder.resolve()).replace(os.sep, "/")))
        for number in numbers
    ]


def excerpt(path: Path, most_bytes: int) -> bytes | None:
    """A film, or as much of its beginning as fits; None where it cannot be cut for lack of a package.

    Nothing is encoded again: packets are copied until the size is reached.

    Args:
        path: an MP4.
        most_bytes: of the excerpt.
    """
    if path.stat().st_size <= most_bytes:
        return path.read_bytes()
    try:
        import av
    except ModuleNotFoundError:
        return None
    # What the index takes grows with the number of pictures: about 16 bytes each, and a kilobyte.
    left = most_bytes - 2048
    with tempfile.TemporaryDirectory(prefix="puffer-sweep-") as folder:
        part = Path(folder) / "part.mp4"
        with (
            av.open(str(path)) as source,
            av.open(str(part), "w", options={"movflags": "faststart"}) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is None:
                    continue
                left -= packet.size + 24
                if left < 0:
                    break
                packet.stream = stream
                target.mux(packet)
        return part.read_bytes()
