"""Requests from other terminals: rows that the lock holder carries out."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, insert, select, update

from sweeper.store.records import Request, RequestKind
from sweeper.store.tables import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Mapping


def add_request(
    connection: Connection, study_uuid: str, kind: RequestKind, argument: Mapping[str, Any], now: float
) -> int:
    """Leave a request; its id."""
    result = connection.execute(
        insert(REQUESTS).values(
            study_uuid=study_uuid,
            kind=kind.value,
            argument=json.dumps(dict(argument)),
            created_at=now,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
    )
    key = result.inserted_primary_key
    if key is None:
        raise RuntimeError("the database has given the request no id")
    return int(key[0])


def read_requests(connection: Connection, study_uuid: str, *, open_only: bool = True) -> list[Request]:
    """Requests in the order they came."""
    query = select(REQUESTS).where(REQUESTS.c.study_uuid == study_uuid).order_by(REQUESTS.c.id)
    if open_only:
        query = query.where(REQUESTS.c.answered_at.is_(None))
    return [_request(row) for row in connection.execute(query)]


def answer_request(connection: Connection, request_id: int, answer: str, now: float) -> None:
    """Close a request with what came of it."""
    connection.execute(
        update(REQUESTS).where(REQUESTS.c.id == request_id).values(answered_at=now, answer=answer)
    )


def _request(row: Row[Any]) -> Request:
    return Request(
        id=row.id,
        kind=RequestKind(row.kind),
        argument=json.loads(row.argument),
        created_at=row.created_at,
        host=row.host,
        pid=row.pid,
        answer=row.answer,
    )
