"""The dashboard's quicker way to read a study: the same trials, the same answer."""

from __future__ import annotations

import io
import json
import sys

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import wsgi

from sweeper.annotate import annotate_study
from sweeper.dashboard_answers import MOST_CURVES, StudyAnswers, leave_out_curves
from sweeper.report.from_store import view_of
from sweeper.store import quick_storage
from sweeper.store.quick_storage import QuickStorage


def ask(application, path: str, query: str = "") -> tuple[str, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    said: list[tuple[str, list[tuple[str, str]]]] = []
    body = b"".join(application(environ, lambda status, headers, *_: said.append((status, headers))))
    status, headers = said[-1]
    return status, dict(headers), body


def test_trials_are_those_that_optuna_reads(filled) -> None:
    annotate_study(filled.study, view_of(filled.study))
    slow = filled.study.storage
    other = optuna.create_study(storage=slow, study_name="theirs", directions=["minimize", "maximize"])

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        trial.suggest_categorical("word", ["a", None, True])
        trial.suggest_int("whole", 1, 9)
        trial.set_user_attr("kind", {"deep": [1, 2]})
        return float("inf"), trial.suggest_float("real", 0.1, 10, log=True)

    other.optimize(objective, n_trials=3)
    other.ask()
    single = optuna.create_study(storage=slow, study_name="single")
    trial = single.ask()
    for step, value in enumerate([1.0, float("nan"), float("-inf")]):
        trial.report(value, step)
    quick = QuickStorage(slow)
    for study_id in (filled.study.study_id, other._study_id, single._study_id):
        assert repr(quick.get_all_trials(study_id)) == repr(slow.get_all_trials(study_id))
    complete = quick.get_all_trials(filled.study.study_id, states=(TrialState.COMPLETE,))
    assert [trial.number for trial in complete] == [0, 1, 2]


def test_a_trial_that_comes_while_it_reads_is_for_the_next_look(filled, monkeypatch) -> None:
    study = filled.study
    with study.engine.connect() as connection:
        everything = list(
            quick_storage._rows(connection, quick_storage._PARAMETERS, study.study_id, ("param_id",), None)
        )
    stranger = (max(trial_id for trial_id, *_ in everything) + 1, "x", 0.5, "{}")
    asked = quick_storage._rows

    def rows(connection, table, study_id, columns, order):
        yield from asked(connection, table, study_id, columns, order)
        if table is quick_storage._PARAMETERS:
            yield stranger

    monkeypatch.setattr(quick_storage, "_rows", rows)
    trials = QuickStorage(study.storage).get_all_trials(study.study_id)
    assert [trial.number for trial in trials] == [0, 1, 2, 3]


def test_an_unknown_study_is_an_error(filled) -> None:
    with pytest.raises(KeyError):
        QuickStorage(filled.study.storage).get_all_trials(999)


def test_the_answer_is_optuna_dashboards_own(filled) -> None:
    annotate_study(filled.study, view_of(filled.study))
    slow = filled.study.storage
    quick = QuickStorage(slow)
    path = f"/api/studies/{filled.study.study_id}"
    for query in ("", "after=2"):
        status, headers, body = ask(StudyAnswers(wsgi(quick), quick), path, query)
        expected = json.loads(ask(wsgi(slow), path, query)[2])
        assert status == "200 OK"
        assert headers["Content-Length"] == str(len(body))
        assert json.loads(body) == expected
    assert "The policy loss is NaN" in expected["trials"][-1]["note"]["body"]


def test_what_is_not_there_is_said_as_before(filled) -> None:
    quick = QuickStorage(filled.study.storage)
    application = StudyAnswers(wsgi(quick), quick)
    assert ask(application, "/api/studies/999")[0].startswith("404")
    assert ask(application, "/api/studies")[0] == "200 OK"


@pytest.mark.parametrize(("count", "drawn"), [(MOST_CURVES, True), (MOST_CURVES + 1, False)])
def test_curves_of_a_large_study_are_not_drawn_into_one_plot(count: int, drawn: bool) -> None:
    answer = {
        "trials": [{"state": "Complete"}] * count + [{"state": "Fail"}],
        "has_intermediate_values": True,
    }
    leave_out_curves(answer)
    assert answer["has_intermediate_values"] is drawn


def test_the_curves_do_not_come_back_with_the_news() -> None:
    answer = {"trials": [{"state": "Running"}], "has_intermediate_values": True}
    leave_out_curves(answer, num_earlier=MOST_CURVES)
    assert answer["has_intermediate_values"] is False
