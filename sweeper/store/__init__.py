"""The study and everything kept with it: one database, Optuna's tables and ours side by side.

`open_store(storage)` gives a `Store`; `Store.open(name)` and `Store.create(...)` give a `StoredStudy`. Reading
needs no lock; only the process that holds a study's lock writes to it, everybody else leaves a request.
"""

from sweeper.store.database import DEFAULT_STORAGE, Store, open_store
from sweeper.store.records import CurvePoint, LockInfo, Request, RequestKind, StudyInfo, StudySpec
from sweeper.store.study import StoredStudy

__all__ = [
    "DEFAULT_STORAGE",
    "CurvePoint",
    "LockInfo",
    "Request",
    "RequestKind",
    "Store",
    "StoredStudy",
    "StudyInfo",
    "StudySpec",
    "open_store",
]
