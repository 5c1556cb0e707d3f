"""What a launcher is: slots that run assignments, and the events that come out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sweeper.records import Assignment, Event, Verdict
    from sweeper.trial import Survey
    from trainer.config import Config
    from trainer.errors import FailureKind


class Launcher(Protocol):
    """Runs trials somewhere. Used from one thread only; never touches the study.

    For each launched trial the events are: at most one Started, then Reported in order of agent steps, then
    exactly one Finished, whatever happens to the worker. Its slot is free again once that has been handed out.
    """

    @property
    def slots(self) -> int:
        """How many trials run side by side; may grow while it runs."""

    @property
    def num_threads(self) -> int:
        """CPU threads that each trial gets, where its config does not say."""

    @property
    def token(self) -> str:
        """What its processes on this machine carry in their environment; begins with the study's own token."""

    def free_slots(self) -> int:
        """Slots that can take an assignment now."""

    def survey(self, config: Config) -> Survey:
        """Find out what must be known of environment and machine before a config can be resolved; needs a free slot.

        Raises:
            PufferError: the environment cannot be made.
        """

    def launch(self, assignment: Assignment) -> None:
        """Start a trial in a free slot.

        Raises:
            RuntimeError: no slot is free.
        """

    def answer(self, uuid: str, verdict: Verdict) -> None:
        """Answer a Reported that wants a verdict; PAUSE and STOP may come at any time unasked.

        A trial that is no longer running is ignored: its Finished is on its way.
        """

    def events(self, timeout_seconds: float) -> list[Event]:
        """Hand out what has happened, waiting up to `timeout_seconds` for a first event."""

    def silent_seconds(self, uuid: str) -> float:
        """How long the worker of a running trial has given no sign of life."""

    def kill(self, uuid: str, kind: FailureKind, message: str) -> None:
        """End a trial at once, with everything its worker has started; its Finished says why."""

    def wake(self) -> None:
        """Make a waiting `events` return: safe from a signal handler."""

    def close(self) -> None:
        """End all workers and wait until they are gone. May be called twice."""
