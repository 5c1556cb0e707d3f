import shutil
import struct

import pytest

from sweeper.errors import SweepError
from sweeper.report import images
from sweeper.report.images import BROWSERS, SCALE, WIDTH, write_images


def test_without_a_browser_it_says_so(study, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(images.shutil, "which", lambda name: None)
    with pytest.raises(SweepError, match="need a browser"):
        list(write_images(study, tmp_path / "png"))
    assert not (tmp_path / "png").exists()


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium is installed")
def test_every_figure_becomes_an_image(study_maker, tmp_path) -> None:
    paths = list(write_images(study_maker(12), tmp_path / "png"))
    assert {"pareto.png", "history.png", "contour.png"} <= {path.name for path in paths}
    assert "effect-train.gamma.png" in {path.name for path in paths}
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert struct.unpack(">I", content[16:20])[0] == WIDTH * SCALE
        assert len(content) > 2000
