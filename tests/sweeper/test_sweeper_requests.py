"""What other terminals ask of a sweep that runs, and a study that is deleted under it."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from planted_rehearsal import Notes, check_whole, rising, states

from sweeper.listener import EndReason
from sweeper.records import TrialState
from sweeper.store import RequestKind, open_store
from sweeper.store.inbox import Inbox
from trainer.errors import FailureKind


@pytest.fixture
def prompt(monkeypatch):
    """Requests are read when they are looked for: a virtual night is over before a thread has read anything."""
    monkeypatch.setattr(Inbox, "hear", Inbox.read)


class Ask(Notes):
    """Leaves a request when a trial starts, as another terminal would."""

    def __init__(self, rehearsal, number, kind, argument=None):
        super().__init__()
        self.rehearsal, self.number, self.kind, self.argument = rehearsal, number, kind, argument

    def on_started(self, trial):
        super().on_started(trial)
        if trial.number == self.number:
            self.number = None
            self.rehearsal.study.request(self.kind, self.argument)


@pytest.mark.usefixtures("prompt")
class TestRequests:
    def test_stop(self, rehearsal):
        outcome = rehearsal.run("--sweep.max-runs", "50", listener=Ask(rehearsal, 2, RequestKind.STOP))
        assert outcome.reason is EndReason.STOPPED
        assert sum(outcome.counts.values()) < 8
        assert rehearsal.study.requests() == []
        assert rehearsal.study.requests(open_only=False)[0].answer

    def test_a_stop_that_came_too_late_does_not_end_the_next_sweep(self, rehearsal):
        rehearsal.run("--sweep.max-runs", "1")
        rehearsal.study.request(RequestKind.STOP)
        assert rehearsal.run("--sweep.max-runs", "3").reason is EndReason.RUNS

    def test_extend_while_it_runs_and_after(self, rehearsal):
        listener = Ask(rehearsal, 1, RequestKind.EXTEND, {"runs": 3})
        assert sum(rehearsal.run("--sweep.max-runs", "4", listener=listener).counts.values()) == 7
        rehearsal.study.request(RequestKind.EXTEND, {"runs": 2})
        assert sum(rehearsal.run("--sweep.max-runs", "4").counts.values()) == 9
        assert rehearsal.study.max_runs == 9
        assert sum(rehearsal.run("--sweep.max-runs", "4").counts.values()) == 9
        check_whole(rehearsal.study)

    def test_retry_runs_failed_configurations_again_and_counts_them_once(self, rehearsal):
        broken = [True]

        def behave(assignment):
            for epoch in rising(assignment):
                bad = broken[0] and assignment.number in (1, 2)
                yield replace(epoch, failure=FailureKind.CRASH if bad else None)

        rehearsal.run("--sweep.max-runs", "5", behave=behave)
        assert states(rehearsal.study) == {TrialState.COMPLETE: 3, TrialState.FAILED: 2}
        broken[0] = False
        rehearsal.study.request(RequestKind.RETRY, {"trials": [2]})
        rehearsal.run("--sweep.max-runs", "5", behave=behave)
        trials = rehearsal.study.trials()
        assert trials[-1].values == trials[2].values
        assert trials[-1].state is TrialState.COMPLETE
        assert trials[-1].attributes["retry_of"] == 2
        assert trials[2].attributes["retried_as"] == 5
        rehearsal.study.request(RequestKind.RETRY)
        outcome = rehearsal.run("--sweep.max-runs", "5", behave=behave)
        assert outcome.counts == {TrialState.COMPLETE: 5, TrialState.FAILED: 2}
        check_whole(rehearsal.study)

    def test_delete_while_it_runs(self, rehearsal):
        listener = Ask(rehearsal, 2, RequestKind.DELETE, {"folders": True})
        outcome = rehearsal.run("--sweep.max-runs", "50", listener=listener)
        assert outcome.reason is EndReason.DELETED
        assert open_store(rehearsal.storage).studies() == []
        assert not outcome.artifacts_folder.exists()

    # Optuna counts the rows that it deletes, and the sweep changes some of them meanwhile.
    @pytest.mark.filterwarnings("ignore:DELETE statement on table")
    def test_deleted_in_the_dashboard_while_it_runs(self, rehearsal):
        class DeleteElsewhere(Notes):
            def on_started(self, trial):
                if trial.number == 2:
                    optuna.delete_study(study_name="rehearsal", storage=f"sqlite:///{rehearsal.storage}")
                    # SQLite gives the deleted study's id to the next one.
                    optuna.create_study(study_name="innocent", storage=f"sqlite:///{rehearsal.storage}")

        outcome = rehearsal.run("--sweep.max-runs", "50", listener=DeleteElsewhere())
        assert outcome.reason is EndReason.DELETED
        innocent = optuna.load_study(study_name="innocent", storage=f"sqlite:///{rehearsal.storage}")
        assert innocent.trials == []


class AskAtTheEnd(Notes):
    """Extends the study when its last trial has ended."""

    def __init__(self, rehearsal, number):
        super().__init__()
        self.rehearsal, self.number = rehearsal, number

    def on_finished(self, trial):
        if trial.number == self.number:
            self.rehearsal.study.request(RequestKind.EXTEND, {"runs": 2})


def test_a_request_of_the_last_moment_is_heard(rehearsal, monkeypatch):
    monkeypatch.setattr(Inbox, "hear", lambda inbox: [])
    outcome = rehearsal.run("--sweep.max-runs", "3", listener=AskAtTheEnd(rehearsal, 2), slots=1)
    assert sum(outcome.counts.values()) == 5
    assert rehearsal.study.requests() == []
    check_whole(rehearsal.study)
