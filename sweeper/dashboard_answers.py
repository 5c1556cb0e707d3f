"""What optuna-dashboard says about a study, made quicker to say and to draw for studies of thousands of trials.

optuna-dashboard looks for the note of each trial among all attributes of the study, which takes time with the square
of the number of trials. Its storage here (`QuickStorage`) does not show it those notes; they are added to its answer.
And it draws the curves of all trials as a line each, over which a browser sits for many seconds: a large study's are
left to the report, and to the page of each trial.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sweeper.store.dashboard_rows import trial_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from optuna.storages import BaseStorage

    Environ = dict[str, Any]
    StartResponse = Callable[..., Any]
    Application = Callable[[Environ, StartResponse], Iterable[bytes]]

MOST_CURVES = 500
"""Trials whose curves optuna-dashboard may draw into one plot."""

_STUDY_PATH = re.compile(r"/api/studies/(\d+)/*")
_DRAWN_STATES = frozenset({"Complete", "Pruned", "Running"})


class StudyAnswers:
    """A WSGI application in front of optuna-dashboard.

    Args:
        application: optuna-dashboard on a `QuickStorage`.
        storage: the same.
    """

    def __init__(self, application: Application, storage: BaseStorage) -> None:
        self._application = application
        self._storage = storage

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers as the application does, and goes over its answer where that describes a study."""
        asked = _STUDY_PATH.fullmatch(environ.get("PATH_INFO", ""))
        if asked is None or environ.get("REQUEST_METHOD") != "GET":
            return self._application(environ, start_response)
        said: list[tuple[Any, ...]] = []
        body = b"".join(self._application(environ, lambda *words: said.append(words)))
        status, headers, *rest = said[-1]
        if str(status).startswith("200"):
            answer = json.loads(body)
            add_notes(answer, trial_notes(self._storage.get_study_system_attrs(int(asked[1]))))
            leave_out_curves(answer, num_earlier=_num_known(environ.get("QUERY_STRING", "")))
            body = json.dumps(answer, separators=(",", ":")).encode()
            others = [header for header in headers if header[0].lower() != "content-length"]
            headers = [*others, ("Content-Length", str(len(body)))]
        start_response(status, headers, *rest)
        return [body]


def add_notes(answer: dict[str, Any], notes: Mapping[int, Mapping[str, object]]) -> None:
    """Put notes into an answer about a study.

    Args:
        answer: as optuna-dashboard gives it.
        notes: Optuna's id of the trial → `version` and `body`.
    """
    for trial in (*answer["trials"], *answer["best_trials"]):
        note = notes.get(trial["trial_id"])
        if note is not None:
            trial["note"] = note


def leave_out_curves(answer: dict[str, Any], *, num_earlier: int = 0) -> None:
    """Let optuna-dashboard draw no plot of all curves where there are too many.

    Args:
        answer: as optuna-dashboard gives it.
        num_earlier: trials that the browser has and that are not in the answer.
    """
    here = sum(trial["state"] in _DRAWN_STATES for trial in answer["trials"])
    if num_earlier + here > MOST_CURVES:
        answer["has_intermediate_values"] = False


def _num_known(query: str) -> int:
    values = parse_qs(query).get("after", ["0"])
    return int(values[0]) if values[0].isdecimal() else 0
