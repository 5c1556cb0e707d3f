"""Films of agents: what is in the file, whose episodes they are, and what happens when something is missing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from trainer import evaluate, record, train
from trainer.config import Config
from trainer.envs.ocean.pictures import picture_of
from trainer.envs.ocean.recipe import ENVIRONMENTS, OceanRecipe
from trainer.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = {
    "total_timesteps": 512,
    "bptt_horizon": 32,
    "minibatch_size": 256,
    "device": "cpu",
    "optimizer": "adam",
}


def make_config(package: str, name: str, **env: object) -> Config:
    return Config(base={"package": package, "env_name": name}, env=env, vec={"num_envs": 8}, train=TRAIN)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = make_config("ocean", "breakout")
    result = train(config, folder=tmp_path_factory.mktemp("run"))
    return config, result.checkpoint


def frames_of(path: Path) -> tuple[np.ndarray, float]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]), float(
            stream.average_rate
        )


def test_a_film_shows_the_episodes_that_an_evaluation_plays(trained, tmp_path) -> None:
    config, checkpoint = trained
    film = record(config, checkpoint, tmp_path / "film.mp4", episodes=3, seed=7, greedy=True)
    assert film.scores == evaluate(config, checkpoint, episodes=3, seed=7, greedy=True).scores
    frames, speed = frames_of(film.path)
    assert frames.shape[1:] == (354, 340, 3)
    assert len(frames) / speed == pytest.approx(film.seconds)
    assert film.num_bytes == film.path.stat().st_size < 200_000
    assert not film.is_cut
    assert len({frame[:320].tobytes() for frame in frames}) > 10, "something moves"


def test_the_strip_below_tells_the_score(trained, tmp_path) -> None:
    config, checkpoint = trained
    frames, _ = frames_of(record(config, checkpoint, tmp_path / "film.mp4", episodes=1).path)
    orange = (frames[:, 325:, :, 0].astype(int) - frames[:, 325:, :, 2]) > 90
    assert orange.any(axis=(1, 2)).all()


def test_a_long_film_is_cut_and_the_index_comes_first(trained, tmp_path) -> None:
    config, checkpoint = trained
    film = record(config, checkpoint, tmp_path / "film.mp4", episodes=50, max_seconds=2)
    assert film.is_cut
    assert film.seconds == pytest.approx(2.0)
    content = film.path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_the_same_seed_films_the_same(trained, tmp_path) -> None:
    config, checkpoint = trained
    first = record(config, checkpoint, tmp_path / "1.mp4", episodes=1)
    second = record(config, checkpoint, tmp_path / "2.mp4", episodes=1)
    assert np.array_equal(frames_of(first.path)[0], frames_of(second.path)[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.mp4", "2.mp4"]


@pytest.mark.parametrize(("package", "name"), [("ocean", "multiagent"), ("gymnasium", "CartPole-v1")])
def test_kinds_of_environments(package, name, tmp_path) -> None:
    config = make_config(package, name)
    result = train(config, folder=tmp_path / "run")
    film = record(config, result.checkpoint, tmp_path / "film.mp4", episodes=1, max_seconds=1)
    frames, _ = frames_of(film.path)
    assert len(frames) > 1


def test_atari_is_filmed_in_colour_with_the_scores_of_the_game(tmp_path) -> None:
    config = make_config("atari", "breakout", max_frames=160).override(
        {"train.bptt_horizon": 8, "train.total_timesteps": 64, "train.minibatch_size": 64}
    )
    result = train(config, folder=tmp_path / "run")
    film = record(config, result.checkpoint, tmp_path / "film.mp4", episodes=1)
    frames, speed = frames_of(film.path)
    assert speed == 15
    assert frames.shape[1:] == (454, 340, 3)
    assert (np.ptp(frames[0, 100:150].astype(int), axis=2) > 100).any()
    assert film.scores == evaluate(config, result.checkpoint, episodes=1).scores


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_every_environment_of_our_own_can_be_filmed(name, tmp_path) -> None:
    config = make_config("ocean", name)
    result = train(config, folder=tmp_path / "run")
    film = record(config, result.checkpoint, tmp_path / "film.mp4", episodes=2, max_seconds=3)
    assert frames_of(film.path)[0].any()


@pytest.mark.parametrize(
    "name", ["breakout", "pong", "snake", "cartpole", "pendulum", "acrobot", "mountain_car"]
)
def test_games_and_classics_are_drawn_from_their_state(name) -> None:
    batch = OceanRecipe(name, {}).make_batch(2, torch.device("cpu"))
    batch.start(torch.arange(2))
    picture = picture_of(batch)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


@pytest.mark.parametrize("package", ["av", "PIL"])
def test_a_missing_package_is_named_and_nothing_is_written(package, trained, tmp_path, monkeypatch) -> None:
    config, checkpoint = trained
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"puffer-sweep\[video\]"):
        record(config, checkpoint, tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


def test_a_foreign_checkpoint_leaves_no_file(trained, tmp_path) -> None:
    config, _ = trained
    (tmp_path / "epoch-1.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError):
        record(config, tmp_path / "epoch-1.pt", tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()
