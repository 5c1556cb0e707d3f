"""A camera beside the policy's own view, on the same game."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from trainer.config import Config
from trainer.errors import MissingExtraError
from trainer.vector import make_render_env, make_vector
from trainer.vector.rendering import draw_observation


def make_config(package, name, **env):
    return Config(base={"package": package, "env_name": name}, env=env, vec={"num_envs": 1})


def film(config, steps=12):
    rendered = make_render_env(config)
    try:
        rendered.vector.reset(5)
        seen, frames = [], []
        for step in range(steps):
            batch = rendered.vector.recv()
            seen.append(batch.observations.clone())
            frames.append(rendered.frame().copy())
            rendered.vector.send(torch.full((1, 1), step % 2))
        return torch.cat(seen), np.stack(frames), rendered.frames_per_second
    finally:
        rendered.close()


@pytest.mark.parametrize(
    ("package", "name", "shape"),
    [
        ("atari", "breakout", (210, 160, 3)),
        ("ocean", "breakout", (320, 320, 3)),
        ("ocean", "pong", (330, 420, 3)),
    ],
)
def test_the_picture_moves_with_the_game_that_the_policy_sees(package, name, shape):
    config = make_config(package, name)
    seen, frames, speed = film(config)
    assert frames.shape[1:] == shape
    assert frames.dtype == np.uint8
    assert 10 < speed <= 30
    assert len({frame.tobytes() for frame in frames}) > 6
    plain = make_vector(config, "cpu", num_threads=1)
    try:
        plain.reset(5)
        for step, observation in enumerate(seen):
            assert torch.equal(plain.recv().observations[0], observation)
            plain.send(torch.full((1, 1), step % 2))
    finally:
        plain.close()


def test_atari_in_colour_is_the_grey_game():
    seen, frames, _ = film(make_config("atari", "breakout", size=84, stack=1, maxpool=False))
    grey = seen[-1, 0].float().mean() / 255
    colour = frames[-1].mean() / 255
    assert float(grey) == pytest.approx(float(colour), rel=0.25)
    assert (np.ptp(frames[-1].astype(int), axis=2) > 50).any(), "there are colours"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    rendered = make_render_env(make_config("gymnasium", "CartPole-v1"))
    rendered.vector.reset(0)
    with pytest.raises(MissingExtraError, match=r"puffer-sweep\[video\]"):
        rendered.frame()
    rendered.close()


@pytest.mark.parametrize("shape", [(5,), (1,), (4, 6), (2, 4, 6), (3, 8, 8)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_any_observation_has_a_picture(shape, kind):
    numbers = np.random.default_rng(0).uniform(-1, 1, shape) * 200
    picture = draw_observation(np.abs(numbers).astype(kind) if kind == np.uint8 else numbers.astype(kind))
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
