"""The loop on a virtual clock: budgets, pausing, failures, continuing, requests."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import optuna
import pytest
from planted_config import planted_config

from sweeper.clock import VirtualClock
from sweeper.errors import StudyLockedError, StudyMismatchError, StudyNameError, SweepAbortedError
from sweeper.launchers.simulated import Epoch, SimulatedLauncher
from sweeper.listener import EndReason, Silence
from sweeper.loop import Sweep
from sweeper.records import TrialState
from sweeper.store import RequestKind, open_store
from trainer.errors import FailureKind


def rising(assignment, num_epochs=10, seconds=1.0):
    total = assignment.config.train.total_timesteps
    height = 100 * assignment.config.train.learning_rate
    for number in range(1, num_epochs + 1):
        score = height * number / num_epochs
        yield Epoch(total * number // num_epochs, seconds, score, metrics={"losses/kl": 0.1})


class Notes(Silence):
    def __init__(self):
        self.notes, self.started, self.finished, self.outcome = [], [], [], None

    def on_note(self, text):
        self.notes.append(text)

    def on_started(self, trial):
        self.started.append(trial.number)

    def on_finished(self, trial):
        self.finished.append((trial.number, trial.state))

    def on_sweep_finished(self, outcome):
        self.outcome = outcome


class Rehearsal:
    """Sweeps over one study in a folder, on one clock."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = VirtualClock()
        self.storage = folder / "studies.db"
        self.listener = Notes()

    def sweep(self, *settings, behave=rising, slots=2, name="rehearsal", listener=None, text=None):
        config = planted_config(*settings) if text is None else planted_config(*settings, text=text)
        launcher = SimulatedLauncher(slots, self.clock, behave)
        listener = listener or self.listener
        made = Sweep(config, self.storage, name, launcher=launcher, clock=self.clock, listener=listener)
        if hasattr(listener, "attach"):
            listener.attach(made)
        return made

    def run(self, *settings, **options):
        return self.sweep(*settings, **options).run()

    @property
    def study(self):
        return open_store(self.storage, must_exist=True, clock=self.clock).open("rehearsal")


@pytest.fixture
def rehearsal(tmp_path):
    return Rehearsal(tmp_path)


def states(study):
    return Counter(trial.state for trial in study.trials())


def check_whole(study):
    """What must hold of any study that no sweep is running on."""
    trials = study.trials()
    assert [t.number for t in trials] == list(range(len(trials)))
    assert not [t for t in trials if t.state is TrialState.RUNNING]
    values = [tuple(sorted(t.values.items())) for t in trials if "retry_of" not in t.attributes]
    assert len(set(values)) == len(values)
    for uuid, curve in study.curves().items():
        steps = [point.agent_steps for point in curve]
        assert steps == sorted(set(steps)), uuid
    mirrored = study.optuna_study.trials
    assert [t.number for t in mirrored] == [t.number for t in trials]
    for trial, mirror in zip(trials, mirrored, strict=True):
        assert mirror.params == dict(trial.values)
        assert mirror.user_attrs["uuid"] == trial.uuid
        assert mirror.user_attrs["phase"] == trial.state.value
        assert mirror.intermediate_values == {o.agent_steps: pytest.approx(o.score) for o in trial.curve}
        assert len(mirror.intermediate_values) <= 50
        if trial.state is TrialState.COMPLETE:
            assert mirror.value == pytest.approx(trial.score)
    assert study.lock_info() is None


class TestBudgets:
    def test_max_runs_is_a_total(self, rehearsal):
        outcome = rehearsal.run("--sweep.max-runs", "6")
        assert outcome.reason is EndReason.RUNS
        assert sum(states(rehearsal.study).values()) == 6
        again = rehearsal.run("--sweep.max-runs", "6")
        assert again.reason is EndReason.RUNS
        assert sum(states(rehearsal.study).values()) == 6
        more = rehearsal.run("--sweep.max-runs", "9")
        assert sum(more.counts.values()) == 9
        check_whole(rehearsal.study)

    def test_first_trials_are_the_config_and_the_means(self, rehearsal):
        rehearsal.run("--sweep.max-runs", "3")
        first, second, third = rehearsal.study.trials()
        assert first.values["train.learning_rate"] == 0.01
        assert first.attributes["source"] == "config"
        assert second.values["train.learning_rate"] == 0.03
        assert second.attributes["source"] == "means"
        assert third.attributes["source"] == "random"

    def test_hours_end_it_and_what_ran_can_go_on(self, rehearsal):
        outcome = rehearsal.run(
            "--sweep.max-hours", "0.01", behave=lambda a: rising(a, seconds=10.0), slots=3
        )
        assert outcome.reason is EndReason.HOURS
        check_whole(rehearsal.study)
        assert outcome.counts[TrialState.QUEUED] == 3
        # The hours are a total as well: nothing more is done.
        again = rehearsal.run("--sweep.max-hours", "0.01", behave=lambda a: rising(a, seconds=10.0))
        assert again.reason is EndReason.HOURS
        more = rehearsal.run("--sweep.max-hours", "1", "--sweep.pruner", "median", "--sweep.max-runs", "3")
        assert more.counts.get(TrialState.QUEUED, 0) == 0
        check_whole(rehearsal.study)

    def test_cost_ends_it(self, rehearsal):
        outcome = rehearsal.run("--sweep.max-cost-seconds", "35", "--sweep.max-runs", "50")
        assert outcome.reason is EndReason.COST
        spent = sum(t.cost_seconds for t in rehearsal.study.trials())
        assert 35 <= spent <= 40
        check_whole(rehearsal.study)

    def test_a_space_can_be_exhausted(self, rehearsal):
        text = planted_text("[sweep.train.update_epochs]\ndistribution = categorical\nvalues = [1, 2, 3]\n")
        outcome = rehearsal.run("--sweep.method", "grid", text=text)
        assert outcome.reason is EndReason.EXHAUSTED
        assert len(rehearsal.study.trials()) == 3
        check_whole(rehearsal.study)


def planted_text(sweep):
    from planted_config import TEXT

    return TEXT.partition("[sweep.train.learning_rate]")[0] + sweep


class TestScoresAndCurves:
    def test_scores_curves_and_attributes(self, rehearsal):
        outcome = rehearsal.run("--sweep.max-runs", "2", behave=lambda a: rising(a, num_epochs=100))
        trial = rehearsal.study.trials()[0]
        assert trial.state is TrialState.COMPLETE
        # Mean of the last tenth of a line that rises to 1.
        assert trial.score == pytest.approx(sum(range(91, 101)) / 1000)
        assert len(trial.curve) == 50
        assert len(rehearsal.study.curve(trial.uuid)) == 100
        assert rehearsal.study.curve(trial.uuid)[7].metrics == {"losses/kl": 0.1}
        assert trial.cost_seconds == pytest.approx(100.0)
        known = {"seed", "num_threads", "source", "host", "started_at", "finished_at", "attempts", "slot"}
        assert known <= set(trial.attributes)
        assert outcome.best is not None
        assert outcome.best.number == 1
        assert rehearsal.study.best() == outcome.best
        assert rehearsal.study.optuna_study.metric_names == ["score"]

    def test_seeds_follow_from_sweep_seed_and_number(self, rehearsal, tmp_path):
        rehearsal.run("--sweep.max-runs", "4")
        other = Rehearsal(tmp_path / "other")
        other.run("--sweep.max-runs", "4")
        mine = [t.attributes["seed"] for t in rehearsal.study.trials()]
        assert mine == [t.attributes["seed"] for t in other.study.trials()]
        assert len({seed // 100_000 for seed in mine}) == 4
        assert [t.values for t in rehearsal.study.trials()] == [t.values for t in other.study.trials()]

    def test_folders_hold_what_repeats_the_trial(self, rehearsal):
        from trainer.config import load_config_file

        rehearsal.run("--sweep.max-runs", "1")
        study = rehearsal.study
        folder = study.trial_folder(0)
        config = load_config_file(folder / "config.ini", fill_in_default=False)
        trial = study.trials()[0]
        assert config.train.seed == trial.attributes["seed"]
        assert config.train.num_threads == 1
        assert config.train.learning_rate == trial.values["train.learning_rate"]
        assert {"config.ini", "command", "versions.json", "curve.jsonl", "checkpoints"} <= {
            path.name for path in folder.iterdir()
        }

    @pytest.mark.parametrize("score", [math.inf, math.nan])
    def test_a_score_that_is_no_number_is_a_failure(self, rehearsal, monkeypatch, score):
        from sweeper.launchers.simulated import PretendedRun

        whole = PretendedRun.finished
        monkeypatch.setattr(
            PretendedRun, "finished", lambda self, *details: replace(whole(self, *details), score=score)
        )
        rehearsal.run("--sweep.max-runs", "2")
        for trial in rehearsal.study.trials():
            assert (trial.state, trial.failure_kind) == (TrialState.FAILED, FailureKind.NOT_FINITE)

    def test_two_objectives(self, rehearsal):
        outcome = rehearsal.run("--sweep.objectives", "score,cost", "--sweep.max-runs", "3")
        study = rehearsal.study.optuna_study
        assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
        assert study.trials[0].values == [pytest.approx(1.0), pytest.approx(10.0)]
        assert outcome.counts == {TrialState.COMPLETE: 3}


class TestFailures:
    def test_a_failure_is_recorded_and_the_sweep_goes_on(self, rehearsal):
        def behave(assignment):
            for epoch in rising(assignment):
                bad = assignment.number == 1 and epoch.agent_steps > 4000
                yield replace(epoch, failure=FailureKind.NOT_FINITE if bad else None)

        outcome = rehearsal.run("--sweep.max-runs", "4", behave=behave)
        assert outcome.counts == {TrialState.COMPLETE: 3, TrialState.FAILED: 1}
        failed = rehearsal.study.trials()[1]
        assert (failed.failure_kind, failed.agent_steps) == (FailureKind.NOT_FINITE, 4000)
        assert rehearsal.study.optuna_study.trials[1].user_attrs["failure_kind"] == "not_finite"
        check_whole(rehearsal.study)

    def test_what_a_retry_can_help_is_tried_again_from_its_checkpoint(self, rehearsal):
        resumed = []

        def behave(assignment):
            if assignment.resume_from is not None:
                resumed.append(assignment.number)
            for epoch in rising(assignment):
                first = assignment.resume_from is None
                bad = first and assignment.number == 1 and epoch.agent_steps == 5000
                yield replace(epoch, failure=FailureKind.WORKER_LOST if bad else None)

        outcome = rehearsal.run("--sweep.max-runs", "3", behave=behave)
        assert outcome.counts == {TrialState.COMPLETE: 3}
        assert resumed == [1]
        trial = rehearsal.study.trials()[1]
        assert trial.attributes["attempts"] == 2
        assert [p.agent_steps for p in rehearsal.study.curve(trial.uuid)] == list(range(1000, 10_001, 1000))
        check_whole(rehearsal.study)

    def test_attempts_are_limited(self, rehearsal):
        attempts = Counter()

        def behave(assignment):
            attempts[assignment.number] += 1
            yield Epoch(1000, 1.0, None, FailureKind.HANG)

        rehearsal.run("--sweep.max-runs", "2", "--sweep.retries", "2", behave=behave)
        assert attempts == {0: 3, 1: 3}

    def test_the_circuit_breaker_tells_the_first_failure(self, rehearsal):
        def behave(assignment):
            yield Epoch(1000, 1.0, None, FailureKind.CRASH)

        with pytest.raises(SweepAbortedError, match=r"3 trials in a row .* \(crash\).*Pretended"):
            rehearsal.run("--sweep.max-consecutive-failures", "3", behave=behave, slots=1)
        assert states(rehearsal.study) == {TrialState.FAILED: 3}
        check_whole(rehearsal.study)

    def test_timeout_and_hang(self, rehearsal):
        def behave(assignment):
            if assignment.number == 0:
                yield Epoch(1000, math.inf, 1.0)
            yield from rising(assignment, seconds=30.0 if assignment.number == 1 else 1.0)

        rehearsal.run(
            *("--sweep.max-runs", "3", "--sweep.retries", "0"),
            *("--sweep.trial-timeout", "200", "--sweep.hang-timeout", "100"),
            behave=behave,
        )
        hung, slow, good = rehearsal.study.trials()
        assert hung.failure_kind is FailureKind.HANG
        assert "100" in hung.failure_message
        assert slow.failure_kind is FailureKind.TIMEOUT
        assert slow.agent_steps == 6000
        assert good.state is TrialState.COMPLETE

    def test_infeasible_samples_are_recorded_and_do_not_count(self, rehearsal):
        text = planted_text(
            "[sweep.train.minibatch_size]\ndistribution = uniform_pow2\nmin = 32\nmax = 4096\nmean = 128\n"
        )
        outcome = rehearsal.run("--sweep.max-runs", "4", text=text)
        trials = rehearsal.study.trials()
        bad = [t for t in trials if t.state is TrialState.INFEASIBLE]
        assert bad
        assert "minibatch_size" in bad[0].failure_message
        assert len(trials) - len(bad) == 4
        assert outcome.reason is EndReason.RUNS
        assert rehearsal.study.optuna_study.trials[bad[0].number].state is optuna.trial.TrialState.FAIL


class StopAfter(Notes):
    """Asks the sweep to stop, as Ctrl-C does, after so many reports."""

    def __init__(self, reports, times=1):
        super().__init__()
        self.left, self.times = reports, times

    def attach(self, sweep):
        self.sweep = sweep

    def on_reported(self, trial, report):
        self.left -= 1
        if self.left == 0:
            for _ in range(self.times):
                self.sweep.stop()


class TestStoppingAndContinuing:
    @pytest.mark.parametrize("times", [1, 2])
    def test_an_interrupted_sweep_is_continued_by_the_same_command(self, rehearsal, times):
        outcome = rehearsal.run("--sweep.max-runs", "5", listener=StopAfter(13, times))
        assert outcome.reason is EndReason.INTERRUPTED
        assert outcome.counts[TrialState.QUEUED] == 2
        check_whole(rehearsal.study)
        before = {t.number: t.agent_steps for t in rehearsal.study.trials()}
        listener = Notes()
        again = rehearsal.run("--sweep.max-runs", "5", listener=listener)
        assert again.reason is EndReason.RUNS
        assert sum(again.counts.values()) == 5
        assert listener.started[:2] == [n for n, s in before.items() if s < 10_000][:2]
        check_whole(rehearsal.study)
        for trial in rehearsal.study.trials():
            assert trial.cost_seconds == pytest.approx(trial.agent_steps / 1000)

    def test_promotion_pauses_and_resumes_without_counting_twice(self, rehearsal):
        outcome = rehearsal.run(
            "--sweep.max-runs", "12", "--sweep.pruner", "promotion", behave=lambda a: rising(a, num_epochs=40)
        )
        assert sum(outcome.counts.values()) == 12
        assert outcome.counts[TrialState.COMPLETE] >= 1
        assert outcome.counts[TrialState.PAUSED] >= 1
        paused = rehearsal.study.optuna_study.trials[
            next(t.number for t in rehearsal.study.trials() if t.state is TrialState.PAUSED)
        ]
        assert paused.state is optuna.trial.TrialState.WAITING
        check_whole(rehearsal.study)

    def test_another_process_with_the_lock_is_named(self, rehearsal):
        rehearsal.run("--sweep.max-runs", "1")

        class StartAnother(Notes):
            def on_started(self, trial):
                with pytest.raises(StudyLockedError, match=r"run by process \d+ on "):
                    rehearsal.run("--sweep.max-runs", "3", listener=Notes())
                super().on_started(trial)

        rehearsal.run("--sweep.max-runs", "2", listener=StartAnother())
        check_whole(rehearsal.study)

    def test_a_changed_space_or_setting_is_refused_with_the_difference(self, rehearsal):
        rehearsal.run("--sweep.max-runs", "1")
        with pytest.raises(StudyMismatchError, match="total_timesteps was 10000 and is 20000"):
            rehearsal.run("--train.total-timesteps", "20000")
        with pytest.raises(StudyMismatchError, match=r"gamma\.max was 0\.999 and is 0\.9999"):
            rehearsal.run("--sweep.train.gamma.max", "0.9999")
        with pytest.raises(StudyMismatchError, match="metric"):
            rehearsal.run("--sweep.metric", "episode_length")
        with pytest.raises(StudyMismatchError, match="goal"):
            rehearsal.run("--sweep.goal", "minimize")
        rehearsal.run("--sweep.max-runs", "2", "--train.checkpoint-interval", "7")
        assert len(rehearsal.study.trials()) == 2

    @pytest.mark.parametrize("name", ["../out", "a/b", "", ".", "-x", "a b", "con", "x" * 101, "trail."])
    def test_study_names_are_plain(self, rehearsal, name):
        with pytest.raises(StudyNameError):
            rehearsal.sweep(name=name)
        assert not rehearsal.storage.exists()

    def test_the_clock_set_back_does_no_harm(self, rehearsal):
        class SetBack(Notes):
            def on_started(self, trial):
                rehearsal.clock.set_wall(rehearsal.clock.now() - 86_400.0)

        outcome = rehearsal.run("--sweep.max-runs", "4", "--sweep.max-hours", "1", listener=SetBack())
        assert outcome.counts == {TrialState.COMPLETE: 4}
        check_whole(rehearsal.study)


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


class TestScale:
    @pytest.mark.parametrize("num_trials", [150, pytest.param(1000, marks=pytest.mark.slow)])
    def test_a_thousand_trials_on_sixty_four_workers(self, rehearsal, num_trials):
        outcome = rehearsal.run(
            *("--sweep.max-runs", str(num_trials), "--sweep.keep-checkpoints", "3"),
            slots=64,
            behave=lambda a: rising(a, num_epochs=5, seconds=1.0 + a.number % 7),
        )
        assert sum(outcome.counts.values()) == num_trials
        assert outcome.elapsed_seconds < (num_trials / 64 + 1) * 5 * 7
        study = rehearsal.study
        check_whole(study)
        folders = {t.number: study.trial_folder(t.number) / "checkpoints" for t in study.trials()}
        kept = [number for number, folder in folders.items() if list(folder.glob("*.pt"))]
        assert len(kept) <= 4
        assert outcome.best is not None
        assert outcome.best.number in kept
