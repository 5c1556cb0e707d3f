"""`trials_per_gpu = auto`: from the memory that the first trial takes, with a pretended device."""

from __future__ import annotations

import pytest

from sweeper.launchers.cores import plan_slots
from sweeper.launchers.sharing import (
    MOST_TRIALS_PER_GPU,
    REPORTS_TO_MEASURE,
    DeviceMemory,
    Sharing,
    read_memory,
)
from sweeper.records import Ending, Finished, Reported

GIB = 2**30


class Device:
    """Pretended GPUs: used and total bytes by index."""

    def __init__(self, *used, total=24 * GIB):
        self.used, self.total = list(used), total

    def __call__(self, gpu):
        return DeviceMemory(self.used[gpu], self.total)


def sharing(device, gpus=(0,), num_cores=64, env_workers=0):
    def plan(per_gpu):
        return plan_slots(
            workers=None, gpus=gpus, trials_per_gpu=per_gpu, num_cores=num_cores, env_workers=env_workers
        )

    return Sharing(gpus, plan, device)


def report(number):
    return Reported("a", number, number, 100, 1.0, 1.0, 0.5, {}, wants_verdict=False)


def end():
    return Finished("a", Ending.COMPLETE, 1.0, 100, 1.0, None)


def live_through(watch, num_reports=REPORTS_TO_MEASURE):
    plans = [watch.look([report(number)]) for number in range(num_reports)]
    assert plans[:-1] == [None] * (num_reports - 1)
    return plans[-1]


def test_nothing_is_decided_before_a_trial_has_shown_what_it_takes():
    watch = sharing(Device(0))
    assert watch.look([]) is None
    assert watch.look([report(1)]) is None


@pytest.mark.parametrize(
    ("taken", "slots"),
    [(1 * GIB, 8), (3 * GIB, 6), (10 * GIB, 1), (11 * GIB, 1), (19 * GIB, 1), (23 * GIB, 1)],
)
def test_as_many_as_fit_with_headroom(taken, slots):
    device = Device(0)
    watch = sharing(device)
    device.used[0] = taken
    assert live_through(watch).num_slots == min(slots, MOST_TRIALS_PER_GPU)


def test_what_others_use_is_not_ours():
    device = Device(12 * GIB)
    watch = sharing(device)
    device.used[0] = 15 * GIB
    assert live_through(watch).num_slots == 2


def test_the_most_that_was_seen_counts():
    device = Device(0)
    watch = sharing(device)
    for number, used in enumerate([1, 6, 2, 1, 1, 1, 1, 1, 1]):
        device.used[0] = used * GIB
        assert watch.look([report(number)]) is None
    assert watch.look([report(10)]).num_slots == 3


def test_a_trial_that_ends_early_decides():
    device = Device(0)
    watch = sharing(device)
    device.used[0] = 6 * GIB
    assert watch.look([report(1)]) is None
    assert watch.look([end()]).num_slots == 3


def test_a_trial_that_fails_before_its_first_epoch_decides_nothing():
    assert sharing(Device(0)).look([end()]) is None


def test_cores_limit_it_too():
    device = Device(0)
    watch = sharing(device, num_cores=8, env_workers=3)
    device.used[0] = GIB
    plan = live_through(watch)
    assert (plan.num_slots, plan.num_threads) == (2, 1)


def test_gpus_of_different_load_get_different_numbers():
    device = Device(0, 12 * GIB)
    watch = sharing(device, gpus=(0, 1))
    device.used = [4 * GIB, 12 * GIB]
    plan = live_through(watch, 2 * REPORTS_TO_MEASURE)
    assert plan.gpus == (0, 1, 0, 1, 0, 0)[: plan.num_slots]
    assert plan.gpus.count(0) == 4
    assert plan.gpus.count(1) == 2


def test_without_a_reading_everything_stays():
    assert live_through(sharing(lambda gpu: None)).num_slots == 1


def test_nvidia_smi_s_line():
    assert read_memory("1024, 24576\n") == DeviceMemory(GIB, 24 * GIB)
    assert read_memory("[N/A], [N/A]\n") is None
    assert read_memory("") is None
