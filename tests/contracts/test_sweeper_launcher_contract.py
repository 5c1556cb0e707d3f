"""What every launcher owes, whichever way it runs its trials."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import uuid
import warnings
from dataclasses import replace

import pytest
from planted_config import planted_config
from planted_worker import planned_epochs

from sweeper.clock import SystemClock, VirtualClock
from sweeper.interrupt import Interrupts
from sweeper.launchers.cores import SlotPlan
from sweeper.launchers.guest import Guest
from sweeper.launchers.invitation import read_invitation
from sweeper.launchers.local import LocalLauncher
from sweeper.launchers.open_house import OpenHouse
from sweeper.launchers.simulated import Epoch, SimulatedLauncher
from sweeper.records import Assignment, Ending, Finished, Observation, Reported, Started, Verdict
from trainer.errors import FailureKind


def simulated_behaviour(assignment):
    env = assignment.config.env
    for number, epoch in enumerate(planned_epochs(assignment), start=1):
        if number == env.get("at") and env.get("fault") == "hang":
            yield replace(epoch, seconds=math.inf)
        elif number == env.get("at") and env.get("fault") == "environment":
            yield Epoch(epoch.agent_steps, 0.0, None, FailureKind.ENVIRONMENT)
        else:
            yield replace(epoch, seconds=float(env.get("seconds", 0.01)))


@pytest.fixture(scope="session")
def ray_address():
    """A real cluster of this machine, of two nodes with one core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster.address
        cluster.shutdown()


RAY = [pytest.param(name, marks=pytest.mark.slow) for name in ("ray", "ray without shared folders")]


@contextlib.contextmanager
def open_house(folder):
    """A launcher with one slot of its own and one of a guest, which lives in a thread of this process."""
    own = LocalLauncher(SlotPlan((None,), 1), worker_module="planted_worker")
    house = OpenHouse(own)
    notes = []
    house.open_door(folder, notes.append)
    offered = LocalLauncher(SlotPlan((None,), 1), worker_module="planted_worker")
    invitation = read_invitation(folder, os.getpid())
    guests = []

    def visit():
        guest = Guest(
            invitation, offered, cuda_available=False, clock=SystemClock(), on_note=lambda text: None
        )
        guests.append(guest)
        guest.serve(Interrupts(offered.wake))
        guest.close()

    thread = threading.Thread(target=visit, daemon=True)
    thread.start()
    while house.slots < 2:
        house.events(0.05)
    yield house
    house.close()
    thread.join()
    offered.close()


@pytest.fixture(params=["local", "with a guest", "simulated", *RAY])
def launcher(request):
    if request.param == "with a guest":
        with open_house(request.getfixturevalue("tmp_path") / "study") as made:
            yield made
        return
    if request.param.startswith("ray"):
        from sweeper.launchers.ray_cluster import RayLauncher

        made = RayLauncher(
            address=request.getfixturevalue("ray_address"),
            shared_folders=request.param == "ray",
            servant="planted_worker:Pretender",
        )
        yield made
        made.close()
        return
    if request.param == "local":
        made = LocalLauncher(SlotPlan((None, None), 1), worker_module="planted_worker")
    else:
        made = SimulatedLauncher(2, VirtualClock(), simulated_behaviour)
    yield made
    made.close()


def assign(folder, *settings, number=0, **changes):
    config = planted_config("--env.seconds", "0.01", *settings)
    return Assignment(str(uuid.uuid4()), number, config, folder / f"trial-{number:04d}", 1, **changes)


def run_to_end(launcher, *assignments, verdict=lambda report: Verdict.CONTINUE):
    """Events of all assignments until each has finished."""
    events = {a.uuid: [] for a in assignments}
    open_ones = set(events)
    for _ in range(10_000):
        for event in launcher.events(0.5):
            events[event.uuid].append(event)
            if isinstance(event, Reported) and event.wants_verdict:
                launcher.answer(event.uuid, verdict(event))
            if isinstance(event, Finished):
                open_ones.discard(event.uuid)
        if not open_ones:
            return [events[a.uuid] for a in assignments]
    raise AssertionError(f"no end of {open_ones}")


class TestLauncherContract:
    def test_events_come_in_order_and_end_with_one_finished(self, launcher, tmp_path):
        first, second = assign(tmp_path), assign(tmp_path, number=1)
        assert (launcher.slots, launcher.free_slots()) == (2, 2)
        launcher.launch(first)
        launcher.launch(second)
        assert launcher.free_slots() == 0
        for events in run_to_end(launcher, first, second):
            assert isinstance(events[0], Started)
            assert [type(e) for e in events[1:]] == [Reported] * 10 + [Finished]
            steps = [e.agent_steps for e in events[1:-1]]
            assert steps == sorted(set(steps))
            assert steps[-1] == 10_000
            end = events[-1]
            assert (end.ending, end.score, end.agent_steps) == (Ending.COMPLETE, pytest.approx(1.0), 10_000)
        assert launcher.free_slots() == 2

    def test_no_launch_without_a_free_slot(self, launcher, tmp_path):
        assignments = [assign(tmp_path, number=i) for i in range(3)]
        for assignment in assignments[:2]:
            launcher.launch(assignment)
        with pytest.raises(RuntimeError, match="no slot"):
            launcher.launch(assignments[2])
        run_to_end(launcher, *assignments[:2])
        launcher.launch(assignments[2])
        run_to_end(launcher, assignments[2])

    def test_pause_and_resume_leave_out_and_repeat_nothing(self, launcher, tmp_path):
        first = assign(tmp_path, pause_at=4000)
        launcher.launch(first)
        (events,) = run_to_end(
            launcher, first, verdict=lambda r: Verdict.PAUSE if r.agent_steps >= 4000 else Verdict.CONTINUE
        )
        end = events[-1]
        assert (end.ending, end.agent_steps, end.score) == (Ending.PAUSED, 4000, None)
        assert end.checkpoint is not None
        earlier = tuple(
            Observation(e.agent_steps, e.cost_seconds, e.score) for e in events if isinstance(e, Reported)
        )
        again = replace(first, resume_from=end.checkpoint, earlier=earlier, pause_at=None)
        launcher.launch(again)
        (more,) = run_to_end(launcher, again)
        assert more[0].agent_steps == 4000
        assert [e.agent_steps for e in more if isinstance(e, Reported)] == list(range(5000, 10_001, 1000))
        assert more[-1].ending is Ending.COMPLETE
        assert more[-1].cost_seconds > end.cost_seconds

    def test_stop_ends_for_good(self, launcher, tmp_path):
        assignment = assign(tmp_path)
        launcher.launch(assignment)
        (events,) = run_to_end(launcher, assignment, verdict=lambda r: Verdict.STOP)
        assert (events[-1].ending, events[-1].agent_steps) == (Ending.STOPPED, 1000)

    def test_a_pause_may_come_unasked(self, launcher, tmp_path):
        assignment = assign(tmp_path, "--env.seconds", "0.05")
        launcher.launch(assignment)
        launcher.answer(assignment.uuid, Verdict.PAUSE)
        (events,) = run_to_end(launcher, assignment)
        assert events[-1].ending is Ending.PAUSED
        assert events[-1].agent_steps < 10_000

    def test_a_failure_is_an_outcome(self, launcher, tmp_path):
        bad = assign(tmp_path, "--env.fault", "environment", "--env.at", "3")
        good = assign(tmp_path, number=1)
        launcher.launch(bad)
        launcher.launch(good)
        broken, whole = run_to_end(launcher, bad, good)
        assert (broken[-1].ending, broken[-1].failure_kind) == (Ending.FAILED, FailureKind.ENVIRONMENT)
        assert broken[-1].score is None
        assert whole[-1].ending is Ending.COMPLETE
        launcher.launch(assign(tmp_path, number=2))

    def test_kill_ends_a_hanging_trial_with_the_reason_given(self, launcher, tmp_path):
        assignment = assign(tmp_path, "--env.fault", "hang", "--env.at", "3")
        launcher.launch(assignment)
        seen = []
        while sum(isinstance(e, Reported) for e in seen) < 2:
            for event in launcher.events(0.2):
                seen.append(event)
                if isinstance(event, Reported) and event.wants_verdict:
                    launcher.answer(event.uuid, Verdict.CONTINUE)
        launcher.events(0.3)
        assert launcher.silent_seconds(assignment.uuid) >= 0.0
        launcher.kill(assignment.uuid, FailureKind.HANG, "It hangs.")
        (events,) = run_to_end(launcher, assignment)
        end = events[-1]
        assert (end.ending, end.failure_kind) == (Ending.FAILED, FailureKind.HANG)
        assert end.failure_message == "It hangs."
        assert end.agent_steps == 2000
        assert launcher.free_slots() == 2
        again = assign(tmp_path, number=1)
        launcher.launch(again)
        assert run_to_end(launcher, again)[0][-1].ending is Ending.COMPLETE

    def test_unknown_trials_are_ignored(self, launcher):
        launcher.answer("nobody", Verdict.STOP)
        launcher.kill("nobody", FailureKind.TIMEOUT, "late")
        assert launcher.silent_seconds("nobody") == 0.0
        assert launcher.events(0.0) == []

    def test_survey(self, launcher):
        assert launcher.survey(planted_config()).environment.agents_per_env == 1

    def test_close_twice(self, launcher, tmp_path):
        launcher.launch(assign(tmp_path))
        launcher.close()
        launcher.close()
