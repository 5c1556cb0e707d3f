"""When a sweep films which trial, and what becomes of a film that cannot be made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sweeper import video
from sweeper.errors import SweepError
from sweeper.records import Trial, TrialState
from sweeper.report.films import excerpt
from sweeper.video import Filming, film_folder

if TYPE_CHECKING:
    from pathlib import Path


_POPEN = subprocess.Popen


def best(number: int) -> Trial:
    return Trial(number, f"uuid-{number}", TrialState.COMPLETE, {}, score=1.0)


class Studio:
    """Trial folders with a checkpoint each, and a program that stands for the one that films."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.filming = Filming(self.folder_of, self.notes.append, "token")
        self._monkeypatch = monkeypatch

    def folder_of(self, number: int) -> Path:
        path = self.folder / f"trial-{number:04d}"
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        (path / "checkpoints" / "epoch-00000001.pt").touch()
        return path

    def let_it_do(self, program: str) -> None:
        def start(command, **options):
            return _POPEN([sys.executable, "-c", program, *command[3:]], **options)

        self._monkeypatch.setattr(video.subprocess, "Popen", start)

    def wait(self, trial: Trial | None) -> None:
        self.filming.finish(trial, lambda: False)


@pytest.fixture
def studio(tmp_path, monkeypatch):
    made = Studio(tmp_path, monkeypatch)
    yield made
    made.filming.close()


FILM = "import pathlib, sys; pathlib.Path(sys.argv[3]).write_text('film')"
FOR_EVER = "import time; time.sleep(1000)"


def test_every_new_best_is_filmed_once(studio) -> None:
    studio.let_it_do(FILM)
    for number in (3, 3, 5):
        studio.wait(best(number))
    assert sorted(path.parent.name for path in studio.folder.glob("*/video.mp4")) == [
        "trial-0003",
        "trial-0005",
    ]
    assert studio.notes == ["Filming the best trial, 3 …", "Filming the best trial, 5 …"]


def test_what_is_filmed_already_is_not_filmed_again(studio) -> None:
    (studio.folder_of(3) / "video.mp4").write_text("old")
    studio.let_it_do(FILM)
    studio.wait(best(3))
    assert (studio.folder_of(3) / "video.mp4").read_text() == "old"


def test_a_failure_is_told_once_in_its_own_words(studio) -> None:
    studio.let_it_do("import sys; sys.exit('no\\nVideos need the package av.')")
    studio.wait(best(1))
    studio.wait(best(2))
    assert [note for note in studio.notes if "could not" in note] == [
        "Trial 1 could not be filmed: Videos need the package av."
    ]


def test_a_hurry_ends_it(studio) -> None:
    studio.let_it_do(FOR_EVER)
    studio.filming.look(best(1))
    process = studio.filming._process
    studio.filming.finish(best(1), lambda: True)
    assert process.poll() is not None


def test_at_the_end_a_film_of_a_former_best_gives_way(studio) -> None:
    studio.let_it_do(FOR_EVER)
    studio.filming.look(best(1))
    former = studio.filming._process
    studio.let_it_do(FILM)
    studio.wait(best(2))
    assert former.poll() is not None
    assert (studio.folder_of(2) / "video.mp4").is_file()


def test_a_film_that_takes_for_ever_is_given_up(studio, monkeypatch) -> None:
    studio.let_it_do(FOR_EVER)
    studio.filming.look(best(1))
    monkeypatch.setattr(video, "LONGEST_SECONDS", -1.0)
    studio.filming.look(None)
    assert studio.filming._process is None
    assert "took more than" in studio.notes[-1]


def test_a_trial_without_checkpoint_has_no_film(studio) -> None:
    shutil.rmtree(studio.folder_of(1) / "checkpoints")
    with pytest.raises(SweepError, match="no checkpoint"):
        film_folder(studio.folder / "trial-0001", studio.folder / "x.mp4")


def make_film(path: Path, num_frames: int) -> None:
    import av
    import numpy as np

    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(num_frames):
            noise = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode(None))


def test_an_excerpt_is_the_beginning_and_fits(tmp_path) -> None:
    import av

    path = tmp_path / "film.mp4"
    make_film(path, 90)
    size = path.stat().st_size
    assert excerpt(path, size) == path.read_bytes()
    part = excerpt(path, size // 3)
    assert size // 5 < len(part) <= size // 3
    (tmp_path / "part.mp4").write_bytes(part)
    with av.open(str(tmp_path / "part.mp4")) as container:
        assert 10 < sum(1 for _ in container.decode(video=0)) < 60


@pytest.mark.slow
def test_the_real_program_films_a_real_agent(tmp_path) -> None:
    from sweeper.folder import write_folder
    from trainer import train
    from trainer.config import Config, dump_config

    config = Config(
        base={"package": "ocean", "env_name": "breakout"},
        vec={"num_envs": 8},
        train={"total_timesteps": 512, "bptt_horizon": 32, "minibatch_size": 256, "optimizer": "adam"},
    )
    folder = tmp_path / "trial-0000"
    write_folder(folder, dump_config(config), "test")
    train(config, folder=folder)
    notes: list[str] = []
    filming = Filming(lambda _number: folder, notes.append)
    filming.finish(best(0), lambda: False)
    assert notes == ["Filming the best trial, 0 …"]
    assert (folder / "video.mp4").read_bytes()[4:8] == b"ftyp"
