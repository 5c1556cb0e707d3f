"""Errors of the sweep, under the trainer's PufferError (see trainer/errors.py for the shape of a message).

PufferError
└── SweepError
    ├── StudyNameError        a study name that is no plain name
    ├── StudyNotFoundError    no such study in this storage (names those there are)
    ├── StudyMismatchError    the study exists with another space or other fixed settings (shows the difference)
    ├── StudyLockedError      another process runs this study (names host, pid and start)
    ├── StorageError          the database is missing, broken, foreign, or of a newer version
    ├── SearchError           a method or pruner that does not fit the space or the objectives
    └── SweepAbortedError     the sweep ended itself: circuit breaker, nearly all samples infeasible, full disk
"""

from __future__ import annotations

from trainer.errors import PufferError


class SweepError(PufferError):
    """Something about a study or a sweep."""


class StudyNameError(SweepError):
    """A study name that could leave its folder or that the shell would mangle."""


class StudyNotFoundError(SweepError):
    """No such study in this storage."""


class StudyMismatchError(SweepError):
    """The study exists with another search space or other fixed settings, so scores would not compare."""


class StudyLockedError(SweepError):
    """Another process runs this study."""


class StorageError(SweepError):
    """The database is missing, broken, foreign, or was written by a newer version."""


class SearchError(SweepError):
    """A method or pruner that does not fit the space or the objectives."""


class SweepAbortedError(SweepError):
    """The sweep ended itself to save the user's time."""
