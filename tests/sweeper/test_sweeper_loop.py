"""The loop on a virtual clock: budgets, pausing, failures, continuing, requests."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from dataclasses import replace

import optuna
import pytest
from planted_rehearsal import Notes, Rehearsal, StopAfter, check_whole, rising, states

from sweeper.errors import StudyLockedError, StudyMismatchError, StudyNameError, SweepAbortedError
from sweeper.folder import write_folder
from sweeper.launchers.simulated import Epoch, SimulatedLauncher, write_checkpoint
from sweeper.listener import EndReason
from sweeper.records import Reported, TrialState
from sweeper.store import open_store
from sweeper.store.ledger import Ledger
from trainer.errors import FailureKind


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
        assert first.attributes["device"] == "cpu"
        assert second.values["train.learning_rate"] == 0.03
        assert second.attributes["source"] == "means"
        assert third.attributes["source"] == "random"

    def test_hours_end_it_and_what_ran_can_go_on(self, rehearsal):
        outcome = rehearsal.run(
            "--sweep.max-hours", "0.01", behave=lambda a: rising(a, seconds=10.0), slots=3
        )
        assert outcome.reason is EndReason.HOURS
        assert 0 < rehearsal.study.attributes()["deadline"] <= rehearsal.clock.now()
        check_whole(rehearsal.study)
        assert outcome.counts[TrialState.QUEUED] == 3
        # The hours are a total as well: nothing more is done, not even an epoch of what was interrupted.
        before = rehearsal.study.trials()
        again = rehearsal.run("--sweep.max-hours", "0.01", behave=lambda a: rising(a, seconds=10.0))
        assert again.reason is EndReason.HOURS
        assert rehearsal.study.trials() == before
        more = rehearsal.run("--sweep.max-hours", "1", "--sweep.pruner", "median", "--sweep.max-runs", "3")
        assert more.counts.get(TrialState.QUEUED, 0) == 0
        check_whole(rehearsal.study)

    def test_cost_ends_it(self, rehearsal):
        outcome = rehearsal.run("--sweep.max-cost-seconds", "35", "--sweep.max-runs", "50")
        assert outcome.reason is EndReason.COST
        spent = sum(t.cost_seconds for t in rehearsal.study.trials())
        assert 35 <= spent <= 40
        check_whole(rehearsal.study)
        before = rehearsal.study.trials()
        again = rehearsal.run("--sweep.max-cost-seconds", "35", "--sweep.max-runs", "50")
        assert again.reason is EndReason.COST
        assert rehearsal.study.trials() == before

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

    def test_an_epoch_whose_report_was_lost_with_its_worker_is_in_the_curve(self, rehearsal, monkeypatch):
        """The worker had trained it, noted it and written a checkpoint; nobody had heard of it."""
        lost, hear = [], SimulatedLauncher.events

        def lose_one(launcher, timeout_seconds):
            heard = hear(launcher, timeout_seconds)
            for event in heard:
                if isinstance(event, Reported) and event.agent_steps == 5000 and not lost:
                    lost.append(event)
                    launcher.kill(event.uuid, FailureKind.WORKER_LOST, "Planted.")
            return [event for event in heard if event not in lost]

        monkeypatch.setattr(SimulatedLauncher, "events", lose_one)
        rehearsal.run("--sweep.max-runs", "1")
        assert len(lost) == 1
        trial = rehearsal.study.trials()[0]
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

    def test_what_a_deleted_study_has_left_under_a_number_is_nobody_s_checkpoint(self, rehearsal):
        rehearsal.run("--sweep.max-runs", "1")
        store = open_store(rehearsal.storage)
        store.delete("rehearsal")
        store.close()

        attempts = []

        def behave(assignment):
            attempts.append(assignment.resume_from)
            for epoch in rising(assignment):
                yield replace(epoch, failure=FailureKind.WORKER_LOST if len(attempts) == 1 else None)

        rehearsal.run("--sweep.max-runs", "1", "--train.gamma", "0.9", behave=behave)
        assert attempts == [None, None]
        trial = rehearsal.study.trials()[0]
        assert [p.agent_steps for p in rehearsal.study.curve(trial.uuid)] == list(range(1000, 10_001, 1000))
        check_whole(rehearsal.study)

    def test_a_kill_before_a_trial_is_written_leaves_its_number_to_another(self, rehearsal):
        rehearsal.run("--sweep.max-runs", "1")
        folder = rehearsal.study.trial_folder(1)
        shutil.copytree(rehearsal.study.trial_folder(0), folder)
        config = folder / "config.ini"
        write_folder(folder, config.read_text(encoding="utf-8"), "forgotten", "the uuid of a forgotten trial")
        (folder / "checkpoints").mkdir()
        write_checkpoint(folder, 10, 10_000, 10.0)
        (folder / "curve.jsonl").write_text((folder.parent / "trial-0000" / "curve.jsonl").read_text())

        # Cut off before its worker has begun: what lies there is not taken for its curve.
        ledger = Ledger(rehearsal.study, rehearsal.clock)
        cut_off = ledger.add(
            {"train.learning_rate": 0.02, "train.gamma": 0.95},
            distributions=rehearsal.sweep().space.distributions(),
            describe=lambda number: {"seed": number, "num_threads": 1, "attempts": 1},
        )
        ledger.writer.flush()
        ledger.close()
        rehearsal.run("--sweep.max-runs", "2")
        trial = rehearsal.study.trials()[1]
        assert trial.uuid == cut_off.uuid
        assert trial.state is TrialState.COMPLETE
        assert trial.cost_seconds == pytest.approx(10.0)
        assert "forgotten" not in (folder / "command").read_text()
        check_whole(rehearsal.study)

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
