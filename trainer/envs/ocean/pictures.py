"""Pictures of our own environments, for videos: drawn from the state of the first of a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.envs.ocean import breakout, classic, pong, snake
from trainer.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import ImageDraw

    from trainer.envs.ocean.batch import BatchEnvironment

Picture = np.ndarray[Any, np.dtype[np.uint8]]
_Color = tuple[int, int, int]
_Point = tuple[float, float]

_SMOOTHING = 3
"""Figures are painted so many times larger and averaged down: edges without stairs."""

_NIGHT: _Color = (18, 22, 31)
_DUSK: _Color = (32, 39, 53)
_SLATE: _Color = (96, 108, 130)
_WHITE: _Color = (238, 240, 245)
_ORANGE: _Color = (245, 160, 74)
_BLUE: _Color = (109, 169, 228)
_GREEN: _Color = (122, 196, 140)
_RED: _Color = (232, 111, 100)
_BRICKS: tuple[_Color, ...] = (_RED, _ORANGE, (240, 205, 98), _GREEN, _BLUE)

_CELL = 32
"""Pixels a side of a cell of a grid."""


class Canvas:
    """A picture that is painted on, in pixels from the top left corner.

    Args:
        width, height: in pixels.

    Raises:
        MissingExtraError: Pillow is not installed.
    """

    def __init__(self, width: int, height: int, ground: _Color = _NIGHT) -> None:
        try:
            from PIL import Image, ImageDraw
        except ModuleNotFoundError as error:
            raise MissingExtraError("PIL", extra="video", purpose="Pictures of environments") from error
        self._size = (width, height)
        self._image = Image.new("RGB", (width * _SMOOTHING, height * _SMOOTHING), ground)
        self._draw: ImageDraw.ImageDraw = ImageDraw.Draw(self._image)

    def line(self, points: list[_Point], color: _Color, width: float) -> None:
        """A line with round ends and joints."""
        scaled = [(x * _SMOOTHING, y * _SMOOTHING) for x, y in points]
        self._draw.line(scaled, fill=color, width=round(width * _SMOOTHING), joint="curve")
        for x, y in (points[0], points[-1]):
            self.disc(x, y, width / 2, color)

    def disc(self, x: float, y: float, radius: float, color: _Color) -> None:
        """A filled circle."""
        box = [(part * _SMOOTHING) for part in (x - radius, y - radius, x + radius, y + radius)]
        self._draw.ellipse(box, fill=color)

    def box(self, left: float, top: float, right: float, bottom: float, color: _Color, radius: float) -> None:
        """A filled rectangle with round corners."""
        edges = [part * _SMOOTHING for part in (left, top, right, bottom)]
        self._draw.rounded_rectangle(edges, radius=radius * _SMOOTHING, fill=color)

    def cell(self, row: int, column: int, color: _Color, *, inset: float = 1.5) -> None:
        """A cell of a grid."""
        top, left = row * _CELL, column * _CELL
        self.box(left + inset, top + inset, left + _CELL - inset, top + _CELL - inset, color, 4)

    def dots(self, x: float, y: float, count: int, color: _Color) -> None:
        """So many dots in a row, from a place to the right."""
        for number in range(count):
            self.disc(x + 14 * number, y, 4.5, color)

    def picture(self) -> Picture:
        """(H, W, 3) uint8."""
        return np.asarray(self._image.resize(self._size, resample=4))  # 4: box, the mean of the small pixels


def picture_of(environment: BatchEnvironment) -> Picture | None:
    """The first environment of a batch as it stands, (H, W, 3) uint8; None for kinds that have no picture.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    paint = _PAINTERS.get(type(environment))
    return None if paint is None else paint(environment)


def frames_per_second(environment: BatchEnvironment) -> float:
    """At which a film of this kind of environment is pleasant to look at: grids move in larger steps."""
    return 30.0 if isinstance(environment, _SMOOTH) else 12.0


_SMOOTH = (classic.Cartpole, classic.Pendulum, classic.Acrobot, classic.MountainCar, pong.Pong)


def _paint_cartpole(environment: Any) -> Picture:
    position, _, angle, _ = environment.state[:, 0].tolist()
    canvas = Canvas(480, 300)
    ground, scale = 230.0, 480 / 5.2
    x = 240 + position * scale
    canvas.line([(0, ground + 22), (480, ground + 22)], _SLATE, 2)
    for edge in (-2.4, 2.4):
        canvas.line([(240 + edge * scale, ground + 14), (240 + edge * scale, ground + 30)], _RED, 2)
    canvas.box(x - 30, ground - 16, x + 30, ground + 14, _BLUE, 6)
    for wheel in (-16, 16):
        canvas.disc(x + wheel, ground + 15, 7, _SLATE)
    tip = (x + 160 * math.sin(angle), ground - 16 - 160 * math.cos(angle))
    canvas.line([(x, ground - 16), tip], _ORANGE, 10)
    canvas.disc(x, ground - 16, 5, _WHITE)
    return canvas.picture()


def _paint_pendulum(environment: Any) -> Picture:
    angle, _ = environment.state[:, 0].tolist()
    canvas = Canvas(320, 320)
    # Counter-clockwise from upright, as Gymnasium draws it.
    tip = (160 - 115 * math.sin(angle), 160 - 115 * math.cos(angle))
    canvas.line([(160, 160), tip], _ORANGE, 18)
    canvas.disc(160, 160, 5, _WHITE)
    return canvas.picture()


def _paint_acrobot(environment: Any) -> Picture:
    first, second, _, _ = environment.state[:, 0].tolist()
    canvas = Canvas(360, 360)
    length, x, y = 76.0, 180.0, 180.0
    canvas.line([(0, y - length), (360, y - length)], _SLATE, 2)
    elbow = (x + length * math.sin(first), y + length * math.cos(first))
    both = first + second
    tip = (elbow[0] + length * math.sin(both), elbow[1] + length * math.cos(both))
    canvas.line([(x, y), elbow], _BLUE, 14)
    canvas.line([elbow, tip], _ORANGE, 14)
    for joint in ((x, y), elbow):
        canvas.disc(*joint, 5, _WHITE)
    return canvas.picture()


def _paint_mountain_car(environment: Any) -> Picture:
    position, _ = environment.state[:, 0].tolist()
    canvas = Canvas(480, 300)

    def place(where: float) -> _Point:
        return (where + 1.2) / 1.8 * 480, 260 - (math.sin(3 * where) * 0.45 + 0.55) * 200

    canvas.line([place(-1.2 + 1.8 * number / 120) for number in range(121)], _SLATE, 3)
    flag_x, flag_y = place(0.5)
    canvas.line([(flag_x, flag_y), (flag_x, flag_y - 44)], _WHITE, 2)
    canvas.box(flag_x, flag_y - 44, flag_x + 20, flag_y - 31, _ORANGE, 2)
    x, y = place(position)
    slope = math.atan(3 * 0.45 * math.cos(3 * position) * 200 / (480 / 1.8))
    sine, cosine = math.sin(slope), math.cos(slope)
    for along in (-11, 11):
        canvas.disc(x + along * cosine - 6 * sine, y - along * sine - 6 * cosine, 6, _WHITE)
    ends = [(x + along * cosine - 14 * sine, y - along * sine - 14 * cosine) for along in (-13, 13)]
    canvas.line(ends, _BLUE, 13)
    return canvas.picture()


def _paint_pong(environment: Any) -> Picture:
    (x, y), (ours, other) = environment.ball[0].tolist(), environment.paddles[0].tolist()
    won, lost = environment.points[0].tolist()
    canvas = Canvas(420, 330)
    left, top, side = 30.0, 36.0, 360.0
    height = 280.0
    canvas.box(left - 14, top - 6, left + side + 14, top + height + 6, _DUSK, 8)
    for number in range(14):
        middle = top + (number + 0.5) * height / 14
        canvas.line([(left + side / 2, middle - 5), (left + side / 2, middle + 5)], _SLATE, 1.5)
    for place, color, edge in ((other, _RED, left - 8), (ours, _BLUE, left + side + 8)):
        centre, reach = top + place * height, 0.12 * height
        canvas.box(edge - 4, centre - reach, edge + 4, centre + reach, color, 4)
    canvas.disc(left + x * side, top + y * height, 6, _WHITE)
    canvas.dots(left, 16, lost, _RED)
    canvas.dots(left + side - 14 * (won - 1), 16, won, _BLUE)
    return canvas.picture()


def _paint_breakout(environment: Any) -> Picture:
    planes = environment.observe()[0].bool()
    size = breakout.SIZE
    canvas = Canvas(size * _CELL, size * _CELL)
    for row, column in planes[breakout.BRICKS].nonzero().tolist():
        canvas.cell(row, column, _BRICKS[(row - 1) % len(_BRICKS)])
    for row, column in planes[breakout.TRAIL].nonzero().tolist():
        canvas.disc((column + 0.5) * _CELL, (row + 0.5) * _CELL, 4, _SLATE)
    for row, column in planes[breakout.BALL].nonzero().tolist():
        canvas.disc((column + 0.5) * _CELL, (row + 0.5) * _CELL, 9, _WHITE)
    for row, column in planes[breakout.PADDLE].nonzero().tolist():
        canvas.box(
            column * _CELL + 1, (row + 0.3) * _CELL, (column + 1) * _CELL - 1, (row + 0.7) * _CELL, _BLUE, 5
        )
    return canvas.picture()


def _paint_snake(environment: Any) -> Picture:
    planes = environment.observe()[0].bool()
    size = planes.shape[-1]
    canvas = Canvas(size * _CELL, size * _CELL)
    for row in range(size):
        for column in range(size):
            canvas.cell(row, column, _DUSK)
    for row, column in planes[snake.FOOD].nonzero().tolist():
        canvas.disc((column + 0.5) * _CELL, (row + 0.5) * _CELL, 9, _RED)
    for row, column in planes[snake.BODY].nonzero().tolist():
        canvas.cell(row, column, _GREEN)
    for row, column in planes[snake.HEAD].nonzero().tolist():
        canvas.cell(row, column, _WHITE)
    return canvas.picture()


_PAINTERS: dict[type, Callable[[Any], Picture]] = {
    classic.Cartpole: _paint_cartpole,
    classic.Pendulum: _paint_pendulum,
    classic.Acrobot: _paint_acrobot,
    classic.MountainCar: _paint_mountain_car,
    pong.Pong: _paint_pong,
    breakout.Breakout: _paint_breakout,
    snake.Snake: _paint_snake,
}
