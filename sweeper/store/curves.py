"""Whole learning curves in chunks: columns of float64, compressed. A chunk is some seconds of one trial.

Rows of their own per epoch and metric would be a hundred times as many; a chunk keeps a study of a thousand trials
small and quick to load, and a curve is always read whole anyway.
"""

from __future__ import annotations

import array
import json
import math
import sys
import zlib
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, insert, select

from sweeper.errors import StorageError
from sweeper.store.records import CurvePoint
from sweeper.store.tables import CURVES

if TYPE_CHECKING:
    from collections.abc import Sequence

_MISSING = math.nan
_MERGE_BELOW = 64
_QUERY_SIZE = 500


def encode_points(points: Sequence[CurvePoint]) -> bytes:
    """Points as bytes: a line of JSON (count and metric names), then one column of float64 after the other."""
    names = sorted({name for point in points for name in point.metrics})
    columns = [
        [float(point.agent_steps) for point in points],
        [point.cost_seconds for point in points],
        [_MISSING if point.score is None else point.score for point in points],
        *([point.metrics.get(name, _MISSING) for point in points] for name in names),
    ]
    packed = array.array("d")
    for column in columns:
        packed.extend(column)
    if sys.byteorder == "big":
        packed.byteswap()
    header = json.dumps({"count": len(points), "names": names}).encode()
    return zlib.compress(header + b"\n" + packed.tobytes(), level=1)


def decode_points(data: bytes) -> list[CurvePoint]:
    """The inverse of `encode_points`.

    Raises:
        StorageError: the bytes are damaged.
    """
    try:
        header, _, body = zlib.decompress(data).partition(b"\n")
        facts = json.loads(header)
        packed = array.array("d")
        packed.frombytes(body)
    except (zlib.error, ValueError, UnicodeDecodeError) as error:
        raise StorageError("A learning curve in the database is damaged.") from error
    if sys.byteorder == "big":
        packed.byteswap()
    count, names = int(facts["count"]), list(facts["names"])
    if len(packed) != count * (3 + len(names)):
        raise StorageError("A learning curve in the database is damaged.")
    columns = [packed[i * count : (i + 1) * count] for i in range(3 + len(names))]
    return [
        CurvePoint(
            agent_steps=int(columns[0][row]),
            cost_seconds=columns[1][row],
            score=None if math.isnan(columns[2][row]) else columns[2][row],
            metrics={
                name: columns[3 + i][row]
                for i, name in enumerate(names)
                if not math.isnan(columns[3 + i][row])
            },
        )
        for row in range(count)
    ]


def append_points(connection: Connection, trial_uuid: str, points: Sequence[CurvePoint]) -> None:
    """Add points to a trial's curve; those that are there from the first new point's steps on are overwritten.

    That makes a resumed trial's curve whole: what lay beyond its checkpoint goes, each step stands once.
    """
    if not points:
        return
    kept = cut_points(connection, trial_uuid, points[0].agent_steps)
    merged = [*kept, *points]
    connection.execute(
        insert(CURVES).values(
            trial_uuid=trial_uuid,
            first_steps=merged[0].agent_steps,
            last_steps=merged[-1].agent_steps,
            num_points=len(merged),
            points=encode_points(merged),
        )
    )


def cut_points(connection: Connection, trial_uuid: str, first_cut_steps: int) -> list[CurvePoint]:
    """Drop a curve's points from `first_cut_steps` on; the points of a short last chunk are handed back.

    The chunk that is handed back is gone from the table: the caller writes it again with what follows.
    """
    mine = CURVES.c.trial_uuid == trial_uuid
    rows = connection.execute(
        select(CURVES.c.first_steps, CURVES.c.last_steps, CURVES.c.num_points, CURVES.c.points)
        .where(mine)
        .order_by(CURVES.c.first_steps.desc())
    )
    kept: list[CurvePoint] = []
    gone: list[int] = []
    for row in rows:
        if row.last_steps < first_cut_steps:
            if row.num_points < _MERGE_BELOW and not kept:
                kept = decode_points(row.points)
                gone.append(row.first_steps)
            break
        gone.append(row.first_steps)
        kept = [point for point in decode_points(row.points) if point.agent_steps < first_cut_steps]
        if kept:
            break
    rows.close()
    if gone:
        connection.execute(delete(CURVES).where(mine, CURVES.c.first_steps.in_(gone)))
    return kept


def cut_curve(connection: Connection, trial_uuid: str, first_cut_steps: int) -> None:
    """Drop a curve's points from `first_cut_steps` on."""
    kept = cut_points(connection, trial_uuid, first_cut_steps)
    if kept:
        append_points(connection, trial_uuid, kept)


def read_curves(connection: Connection, trial_uuids: Sequence[str]) -> dict[str, list[CurvePoint]]:
    """Whole curves by trial uuid; trials without one are left out."""
    curves: dict[str, list[CurvePoint]] = {}
    for start in range(0, len(trial_uuids), _QUERY_SIZE):
        some = trial_uuids[start : start + _QUERY_SIZE]
        query = (
            select(CURVES.c.trial_uuid, CURVES.c.points)
            .where(CURVES.c.trial_uuid.in_(some))
            .order_by(CURVES.c.trial_uuid, CURVES.c.first_steps)
        )
        for row in connection.execute(query):
            curves.setdefault(row.trial_uuid, []).extend(decode_points(row.points))
    return curves
