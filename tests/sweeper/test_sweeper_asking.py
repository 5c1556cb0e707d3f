"""A slow method thinks while all slots are busy; a quick one is asked when its answer is needed."""

from __future__ import annotations

import threading

import pytest

from sweeper.asking import Asker
from sweeper.records import Resume, Start, Trial, TrialState


class Thinker:
    """Counts its thoughts; knows in which thread it had them."""

    name, notes = "thinker", ()

    def __init__(self, *decisions):
        self.decisions = list(decisions)
        self.threads = []
        self.seen = []

    def next(self, trials):
        self.threads.append(threading.current_thread())
        self.seen.append(list(trials))
        return self.decisions.pop(0)


def start(number):
    return Start({"x": number}, "thinker")


def paused(uuid, state=TrialState.PAUSED):
    return Trial(number=0, uuid=uuid, state=state, values={"x": 0})


@pytest.fixture
def make():
    made = []

    def asker(*decisions, quick_seconds=0.0):
        method = Thinker(*decisions)
        made.append(Asker(method, quick_seconds))
        return made[-1], method

    yield asker
    for one in made:
        one.close()


def test_a_slow_method_has_thought_before_the_slot_is_free(make):
    asker, method = make(start(1), start(2), start(3))
    assert asker.next([]) == start(1)
    asker.think_ahead(lambda: [paused("a")], wanted=True)
    assert asker.next([]) == start(2)
    here = threading.current_thread()
    assert [thread is here for thread in method.threads] == [True, False]
    assert method.seen[1] == [paused("a")]
    assert asker.next([]) == start(3)


def test_one_thought_at_a_time_and_none_that_nobody_wants(make):
    asker, method = make(start(1), start(2))
    asker.next([])
    asker.think_ahead(list, wanted=False)
    assert len(method.threads) == 1
    asker.think_ahead(list, wanted=True)
    asker.think_ahead(list, wanted=True)
    assert asker.next([]) == start(2)
    assert len(method.threads) == 2


def test_a_quick_method_is_not_asked_ahead(make):
    asker, method = make(start(1), start(2), quick_seconds=1000.0)
    asker.next([])
    asker.think_ahead(list, wanted=True)
    assert asker.next([]) == start(2)
    assert method.threads == [threading.current_thread()] * 2


def test_a_resume_that_no_longer_holds_is_thought_over(make):
    asker, _ = make(start(1), Resume("a"), start(2))
    asker.next([])
    asker.think_ahead(lambda: [paused("a")], wanted=True)
    assert asker.next([paused("a", TrialState.COMPLETE)]) == start(2)


def test_what_goes_wrong_in_thought_is_raised_where_it_is_asked_for(make):
    asker, _ = make(start(1))
    asker.next([])
    asker.think_ahead(list, wanted=True)
    with pytest.raises(IndexError):
        asker.next([])
