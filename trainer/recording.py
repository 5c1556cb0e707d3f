"""A film of an agent: a few whole episodes on one environment, with the score in the picture, as MP4.

H.264 with yuv420p and the index in front: what every browser plays. Nothing opens a window.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainer.device import torch_settings
from trainer.errors import MissingExtraError
from trainer.evaluation import EVALUATION_SEED, choose_actions, load_agent
from trainer.metrics import metric_of_episodes
from trainer.policies import make_distribution
from trainer.vector import make_render_env

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.config import Config
    from trainer.policies import Agent
    from trainer.vector.base import StepBatch
    from trainer.vector.rendering import RenderedEnv

EPISODES = 3
MAX_SECONDS = 120.0
"""Length at which a film is cut off, in seconds of the film."""

_SMALLEST_HEIGHT, _LARGEST_HEIGHT = 360, 720
_STRIP = 34
"""Pixels of the strip below the picture that holds the score: it covers nothing of the game."""

_STRIP_GROUND, _DIM, _BRIGHT = (18, 22, 31), (150, 160, 178), (245, 160, 74)
_LINGER_SECONDS = 1.0
"""How long the last picture of an episode stays, so that its score can be read."""

_HEADLESS = {"SDL_VIDEODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
"""What keeps pygame, with which Gymnasium's environments draw, from looking for a screen."""

_QUALITY = "26"
"""x264's constant rate factor: smaller is better and larger."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was filmed.

    Attributes:
        path: the MP4.
        scores: of the episodes that were filmed to their end, by the sweep's metric.
        seconds: length of the film.
        num_bytes: its size.
        is_cut: whether the last episode goes on beyond the film's end.
    """

    path: Path
    scores: tuple[float, ...]
    seconds: float
    num_bytes: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class _Frame:
    """A picture (H, W, 3) uint8, and what is written below it."""

    picture: np.ndarray[Any, np.dtype[np.uint8]]
    words: str
    number: str
    repeats: int = 1


def record(
    config: Config,
    checkpoint: Path | str,
    path: Path | str,
    *,
    episodes: int = EPISODES,
    seed: int = EVALUATION_SEED,
    greedy: bool = False,
    max_seconds: float = MAX_SECONDS,
    on_frame: Callable[[], None] | None = None,
) -> Recording:
    """Play episodes and film them. The file is written whole or not at all.

    Episode i is the first one of an environment seeded `seed + i`, as in `evaluate`.

    Args:
        config: resolved or not; its backend and number of environments are replaced, and the CPU plays.
        checkpoint: of the agent.
        path: the MP4 to write.
        episodes: how many, at least one.
        seed: of the first episode's environment, and of sampled actions.
        greedy: take the likeliest actions instead of sampling.
        max_seconds: the film is cut off at this length.
        on_frame: called at every step.

    Raises:
        MissingExtraError: a package for drawing or encoding is not installed.
        EnvironmentMakeError: the environment cannot be made.
        CheckpointError: the file is no checkpoint or does not fit.
        EnvironmentFault: the environment failed.
    """
    path, cpu = Path(path), torch.device("cpu")
    for name, value in _HEADLESS.items():
        os.environ.setdefault(name, value)
    config = config.override({"train.device": "cpu"})
    rendered = make_render_env(config)
    try:
        with torch_settings(config.train, cpu):
            agent = load_agent(config, checkpoint, rendered.vector, cpu).eval()
            film = _Film(rendered, agent, config.sweep.metric, seed, greedy=greedy)
            frames = film.episodes(seed, episodes, on_frame or _stay_silent)
            seconds, was_cut = _write(frames, path, rendered.frames_per_second, max_seconds)
    finally:
        rendered.close()
    return Recording(path, tuple(film.scores), seconds, path.stat().st_size, was_cut)


def _stay_silent() -> None:
    pass


@dataclass(slots=True)
class _Film:
    """Plays episodes one after the other and hands out their pictures."""

    rendered: RenderedEnv
    agent: Agent
    metric: str
    seed: int
    greedy: bool = field(kw_only=True)
    scores: list[float] = field(default_factory=list)

    def episodes(self, seed: int, count: int, on_frame: Callable[[], None]) -> Iterator[_Frame]:
        """The pictures of so many episodes."""
        distribution = make_distribution(self.rendered.vector.action_layout)
        generator = torch.Generator("cpu").manual_seed(seed)

        def choose(action_scores: torch.Tensor) -> torch.Tensor:
            return choose_actions(distribution, action_scores, None if self.greedy else generator)

        for number in range(count):
            title = f"episode {number + 1} of {count}"
            yield from self._episode(seed + number, title, choose, on_frame)

    def _episode(
        self,
        seed: int,
        title: str,
        choose: Callable[[torch.Tensor], torch.Tensor],
        on_frame: Callable[[], None],
    ) -> Iterator[_Frame]:
        vector = self.rendered.vector
        linger = max(1, round(_LINGER_SECONDS * self.rendered.frames_per_second))
        rewards = torch.zeros(vector.num_agents, dtype=torch.float64)
        values = torch.full((vector.num_agents,), torch.nan, dtype=torch.float64)
        state = self.agent.initial_state(vector.num_agents, torch.device("cpu"))
        vector.reset(seed)
        batch = vector.recv()
        steps = 0
        picture = self.rendered.frame().copy()
        yield _Frame(picture, f"{title}  ·  step 0", "0")
        while values.isnan().any():
            on_frame()
            with torch.no_grad():
                going_on = ~(batch.terminated | batch.truncated)
                state = tuple(part * going_on.unsqueeze(-1) for part in state)
                action_scores, _, state = self.agent.step(batch.observations, state)
                actions = choose(action_scores)
            vector.send(actions)
            batch = vector.recv()
            playing = values.isnan()
            rewards += batch.rewards.double() * (playing & batch.live)
            steps += int(bool((playing & batch.live).any()))
            self._note_ends(batch, values)
            words = f"{title}  ·  step {steps:,}"
            if values.isnan().any():
                picture = self.rendered.frame().copy()
                yield _Frame(picture, words, _number(rewards.mean().item()))
        # What the environment shows by now is the beginning of the next episode.
        score = values.mean().item()
        self.scores.append(score)
        yield _Frame(picture, f"{words}  ·  end", _number(score), repeats=linger)

    def _note_ends(self, batch: StepBatch, values: torch.Tensor) -> None:
        ended = batch.episodes
        if ended is None or ended.rows is None:
            return
        found = metric_of_episodes(self.metric, ended.returns, ended.lengths, ended.extra)
        chosen = ended.returns if found is None else torch.where(found.isfinite(), found, ended.returns)
        first = values[ended.rows].isnan()
        values[ended.rows[first]] = chosen.double()[first]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _write(frames: Iterator[_Frame], path: Path, speed: float, max_seconds: float) -> tuple[float, bool]:
    """Encode frames into a file; how long it is in seconds, and whether there would have been more."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingExtraError("av", extra="video", purpose="Videos") from error
    caption = _Caption()
    most = max(1, round(max_seconds * speed))
    rate = Fraction(speed).limit_denominator(1000)
    count, was_cut = 0, False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream: Any = None
            for frame in frames:
                if count >= most:
                    was_cut = True
                    break
                image = caption.under(frame)
                if stream is None:
                    stream = container.add_stream("libx264", rate=rate)
                    stream.height, stream.width = image.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    # One thread: a film is made beside trials that need the others.
                    stream.codec_context.thread_count = 1
                    stream.options = {"crf": _QUALITY, "preset": "fast", "tune": "animation"}
                for _ in range(min(frame.repeats, most - count)):
                    picture = av.VideoFrame.from_ndarray(image, format="rgb24")
                    picture.pts = count
                    container.mux(stream.encode(picture))
                    count += 1
            container.mux(stream.encode(None))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count / speed, was_cut


class _Caption:
    """Puts pictures onto a sheet of one size with a strip below that holds words and a number."""

    def __init__(self) -> None:
        try:
            from PIL import Image, ImageDraw, ImageFont
        except ModuleNotFoundError as error:
            raise MissingExtraError("PIL", extra="video", purpose="Videos") from error
        self._image, self._draw = Image, ImageDraw
        self._font: Any = ImageFont.load_default(size=15)
        self._large: Any = ImageFont.load_default(size=20)
        self._size: tuple[int, int] | None = None

    def under(self, frame: _Frame) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """(H, W, 3) uint8, of the first frame's size, both sides even."""
        height, width = self._size or self._choose_size(*frame.picture.shape[:2])
        self._size = (height, width)
        sheet_width = math.ceil(max(width, 340) / 2) * 2
        sheet = self._image.new("RGB", (sheet_width, height + height % 2 + _STRIP), _STRIP_GROUND)
        picture = self._image.fromarray(frame.picture)
        if picture.size != (width, height):
            enlarged = height >= picture.size[1]
            how = self._image.Resampling.NEAREST if enlarged else self._image.Resampling.BOX
            picture = picture.resize((width, height), how)
        sheet.paste(picture, ((sheet_width - width) // 2, 0))
        draw = self._draw.Draw(sheet)
        middle = sheet.size[1] - _STRIP / 2
        draw.text((12, middle), frame.words, fill=_DIM, font=self._font, anchor="lm")
        edge = sheet_width - 12
        draw.text((edge, middle), frame.number, fill=_BRIGHT, font=self._large, anchor="rm")
        edge -= round(draw.textlength(frame.number, font=self._large)) + 8
        draw.text((edge, middle), "score", fill=_DIM, font=self._font, anchor="rm")
        return np.asarray(sheet)

    @staticmethod
    def _choose_size(height: int, width: int) -> tuple[int, int]:
        """Small pictures a whole number of times larger, very large ones smaller."""
        if height > _LARGEST_HEIGHT:
            return _LARGEST_HEIGHT, max(1, round(width * _LARGEST_HEIGHT / height))
        times = max(1, round(_SMALLEST_HEIGHT / height))
        return height * times, width * times
