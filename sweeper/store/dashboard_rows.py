"""What optuna-dashboard shows beside trials: notes and artifacts, in the rows where it looks for them.

optuna-dashboard's own functions commit every attribute by itself and cannot reach finished trials. Here all of it goes
into one transaction. What is written is read back through optuna-dashboard in the tests.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from optuna.storages._rdb import models
from sqlalchemy import Connection, Table, delete, insert, literal, select

from sweeper.store.names import trial_folder_name
from sweeper.store.tables import STUDIES, TRIALS

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIAL_ATTRIBUTES = models.TrialSystemAttributeModel.__table__
STUDY_ATTRIBUTES = models.StudySystemAttributeModel.__table__

ARTIFACT_PREFIX = "artifacts:"
_NOTE_PART = 2045
"""Characters of a note in one row, as optuna-dashboard cuts them."""

_MOST_PARTS = 8
_LARGEST_LIST = 500
"""Values in one statement: SQLite takes only so many."""

_SIGNATURE = "\n\n[//]: # (puffer-sweep "
"""A link's definition: optuna-dashboard shows comments of HTML as text, and these not at all."""

_OLD_SIGNATURE = "\n\n<!-- puffer-sweep "
_DEFAULT_TYPE = "application/octet-stream"
_TYPES = {".ini": "text/plain", ".txt": "text/plain", ".pt": _DEFAULT_TYPE}


@dataclass(frozen=True, slots=True)
class Shelf:
    """The artifacts of a trial or a study.

    Attributes:
        owner: uuid of the trial or study.
        filenames: as they are shown, each once.
    """

    owner: str
    filenames: tuple[str, ...]

    def artifact_id(self, filename: str) -> str:
        """The same for the same file of the same owner, always."""
        return str(uuid5(NAMESPACE_URL, f"puffer-sweep:{self.owner}/{filename}"))

    def attributes(self) -> dict[str, str]:
        """Key and JSON value of the attributes that stand for them."""
        return {
            ARTIFACT_PREFIX + self.artifact_id(name): json.dumps(self._meta(name)) for name in self.filenames
        }

    def holds(self, value_json: str) -> bool:
        """Whether an attribute is one of this shelf's, now or earlier; what people have uploaded is not."""
        meta = artifact_meta(value_json)
        return meta is not None and meta["artifact_id"] == self.artifact_id(str(meta["filename"]))

    def _meta(self, filename: str) -> str:
        suffix = "." + filename.rpartition(".")[2]
        mimetype = _TYPES.get(suffix) or mimetypes.guess_type(filename)[0] or _DEFAULT_TYPE
        artifact_id = self.artifact_id(filename)
        return json.dumps(
            {"artifact_id": artifact_id, "filename": filename, "mimetype": mimetype, "encoding": None}
        )


def artifact_meta(value_json: str) -> dict[str, object] | None:
    """What the value of an artifact's attribute says; None once it has been removed."""
    inner = json.loads(value_json)
    meta = json.loads(inner) if isinstance(inner, str) else None
    return meta if isinstance(meta, dict) else None


def write_artifacts(connection: Connection, study_id: int, study: Shelf, trials: Mapping[int, Shelf]) -> None:
    """Make the artifacts of a study and of these trials exactly these; what people have uploaded stays.

    Args:
        connection: in a transaction.
        study_id: Optuna's.
        study: its own artifacts.
        trials: Optuna's id of the trial → its artifacts.
    """
    _sync(connection, STUDY_ATTRIBUTES, "study_id", {study_id: study})
    _sync(connection, TRIAL_ATTRIBUTES, "trial_id", trials)


def find_artifact(connection: Connection, artifact_id: str) -> tuple[Path, str] | None:
    """Folder and file name of an artifact of ours; None where the id belongs to an upload, or to nothing."""
    key = ARTIFACT_PREFIX + artifact_id
    folders = select(STUDIES.c.artifacts_folder, STUDIES.c.name)
    of_trial = (
        folders.add_columns(TRIALS.c.uuid, TRIAL_ATTRIBUTES.c.value_json, TRIALS.c.number)
        .join_from(TRIAL_ATTRIBUTES, TRIALS, TRIALS.c.trial_id == TRIAL_ATTRIBUTES.c.trial_id)
        .join(STUDIES, STUDIES.c.uuid == TRIALS.c.study_uuid)
        .where(TRIAL_ATTRIBUTES.c.key == key)
    )
    of_study = (
        folders.add_columns(STUDIES.c.uuid, STUDY_ATTRIBUTES.c.value_json, literal(None).label("number"))
        .join_from(STUDY_ATTRIBUTES, STUDIES, STUDIES.c.study_id == STUDY_ATTRIBUTES.c.study_id)
        .where(STUDY_ATTRIBUTES.c.key == key)
    )
    for query in (of_trial, of_study):
        for row in connection.execute(query):
            meta = artifact_meta(row.value_json)
            if meta is None or not Shelf(row.uuid, ()).holds(row.value_json):
                continue
            folder = Path(row.artifacts_folder) / row.name
            if row.number is not None:
                folder /= trial_folder_name(row.number)
            return folder, str(meta["filename"])
    return None


def _sync(connection: Connection, table: Table, owner: str, shelves: Mapping[int, Shelf]) -> None:
    ids = list(shelves)
    column = table.c[owner]
    there: dict[int, dict[str, str]] = {}
    for start in range(0, len(ids), _LARGEST_LIST):
        query = select(column, table.c.key, table.c.value_json).where(
            column.in_(ids[start : start + _LARGEST_LIST]), table.c.key.startswith(ARTIFACT_PREFIX)
        )
        for number, key, value in connection.execute(query):
            there.setdefault(number, {})[key] = value
    new = []
    for number, shelf in shelves.items():
        wanted, known = shelf.attributes(), there.get(number, {})
        gone = [key for key, value in known.items() if key not in wanted and shelf.holds(value)]
        if gone:
            connection.execute(delete(table).where(column == number, table.c.key.in_(gone)))
        new += [
            {owner: number, "key": key, "value_json": value}
            for key, value in wanted.items()
            if key not in known
        ]
    if new:
        connection.execute(insert(table), new)


def write_notes(connection: Connection, study_id: int, notes: Mapping[int | None, str]) -> None:
    """Write notes in Markdown, signed; a note that a person has written or changed stays as it is.

    Args:
        connection: in a transaction.
        study_id: Optuna's.
        notes: Optuna's id of a trial → body; None stands for the study itself.
    """
    table = STUDY_ATTRIBUTES
    of_study = table.c.study_id == study_id
    keys = [key for trial_id in notes for key in _note_keys(_note_prefix(trial_id), _MOST_PARTS)]
    there: dict[str, Any] = {}
    for start in range(0, len(keys), _LARGEST_LIST):
        chosen = table.c.key.in_(keys[start : start + _LARGEST_LIST])
        query = select(table.c.key, table.c.value_json).where(of_study & chosen)
        there |= {key: json.loads(value) for key, value in connection.execute(query)}
    old: list[str] = []
    new: dict[str, object] = {}
    for trial_id, body in notes.items():
        prefix = _note_prefix(trial_id)
        before = _joined(there, f"{prefix}note_str:")
        after = signed(body[: _NOTE_PART * (_MOST_PARTS - 1)])
        if before == after or not is_unchanged(before):
            continue
        version = int(there.get(f"{prefix}note_ver", 0))
        old += [key for key in _note_keys(prefix, _MOST_PARTS) if key in there]
        new[f"{prefix}note_ver"] = version + 1
        parts = range(0, len(after), _NOTE_PART)
        new |= {
            f"{prefix}note_str:{number}": after[start : start + _NOTE_PART]
            for number, start in enumerate(parts)
        }
    for start in range(0, len(old), _LARGEST_LIST):
        chosen = old[start : start + _LARGEST_LIST]
        connection.execute(delete(table).where(of_study & table.c.key.in_(chosen)))
    if new:
        rows = [
            {"study_id": study_id, "key": key, "value_json": json.dumps(value)} for key, value in new.items()
        ]
        connection.execute(insert(table), rows)


_TRIAL_NOTE = re.compile(r"dashboard:(\d+):note_(?:ver|str:\d+)")


def is_trial_note_key(key: str) -> bool:
    """Whether an attribute of a study is part of the note of one of its trials."""
    return _TRIAL_NOTE.fullmatch(key) is not None


def trial_notes(attributes: Mapping[str, Any]) -> dict[int, dict[str, object]]:
    """Optuna's id of the trial → `version` and `body` of its note.

    Args:
        attributes: the system attributes of a study.
    """
    ids = {int(found[1]) for key in attributes if (found := _TRIAL_NOTE.fullmatch(key)) is not None}
    return {
        trial_id: {
            "version": int(attributes[f"{_note_prefix(trial_id)}note_ver"]),
            "body": _joined(attributes, f"{_note_prefix(trial_id)}note_str:"),
        }
        for trial_id in sorted(ids)
        if f"{_note_prefix(trial_id)}note_ver" in attributes
    }


def _note_prefix(trial_id: int | None) -> str:
    return "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"


def _note_keys(prefix: str, num_parts: int) -> list[str]:
    return [f"{prefix}note_ver", *(f"{prefix}note_str:{number}" for number in range(num_parts))]


def signed(body: str) -> str:
    """A note with a mark, invisible when it is shown, that tells whether somebody has changed it since."""
    return f"{body}{_SIGNATURE}{_digest(body)})"


def is_unchanged(note: str) -> bool:
    """Whether there is no note, or one of ours that nobody has changed."""
    if not note.strip():
        return True
    for signature, end in ((_SIGNATURE, ")"), (_OLD_SIGNATURE, " -->")):
        body, mark, tail = note.rstrip().rpartition(signature)
        if mark:
            return tail == f"{_digest(body)}{end}"
    return False


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:12]


def _joined(attributes: Mapping[str, object], prefix: str) -> str:
    parts: list[str] = []
    while (part := attributes.get(f"{prefix}{len(parts)}")) is not None:
        parts.append(str(part))
    return "".join(parts)
