"""What the figures of `benchmarks.gpu` are held against: one row a goal, from whatever sections there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and what it should be.

    Attributes:
        name: of the figure, with its unit.
        limit: what it should reach, or stay at or below.
        below: whether smaller is better.
        read: the figure, from the sections.
    """

    name: str
    limit: float
    read: Callable[[Sections], float]
    below: bool = False

    def judge(self, sections: Sections) -> dict[str, Any]:
        """The figure beside its goal; none where its section has not given it."""
        row: dict[str, Any] = {
            "figure": self.name,
            "measured": None,
            "goal": f"{'at most' if self.below else 'at least'} {self.limit:,g}",
            "met": None,
        }
        try:
            measured = self.read(sections)
        except (KeyError, ValueError):
            return row
        met = measured <= self.limit if self.below else measured >= self.limit
        return row | {"measured": measured, "met": met}


def _rates(section: dict[str, Any], *words: str) -> Iterator[float]:
    """Steps per second of the rows whose name has all these words."""
    for name, figures in section.items():
        if isinstance(figures, dict) and all(word in name for word in words):
            yield figures["steps_per_second"]


def _captures(sections: Sections) -> Iterator[float]:
    """Seconds that the runs with learning have captured for: rollout and update together."""
    for figures in sections["learning"].values():
        if isinstance(figures, dict):
            yield figures["capture_seconds"]


def _kernel_against_scan(sections: Sections) -> float:
    """The worst ratio of the two, over all sizes."""
    section = sections["advantage"]
    return min(
        section[name.replace("kernel", "scan", 1)] / taken
        for name, taken in section.items()
        if name.startswith("kernel")
    )


GOALS = (
    Goal("correctness: pytest's status", 0, lambda s: s["correctness"]["exit_status"], below=True),
    *(
        Goal(
            f"{env_name} with learning, {kind} 128, steps/s",
            10e6,
            lambda s, env_name=env_name, kind=kind: max(_rates(s["learning"], env_name, f"{kind} 128")),
        )
        for env_name in ("breakout", "cartpole")
        for kind in ("MLP", "LSTM")
    ),
    *(
        Goal(
            f"{env_name} alone, best batch size, steps/s",
            500e6,
            lambda s, env_name=env_name: max(_rates(s["environments"], env_name)),
        )
        for env_name in ("breakout", "cartpole")
    ),
    Goal("capturing rollout and update, seconds at most", 4.0, lambda s: max(_captures(s)), below=True),
    Goal(
        "capturing in a worker's second trial, seconds",
        0.0,
        lambda s: s["warm_trials"]["trial 1"]["capture_seconds"],
        below=True,
    ),
    Goal("advantage: scan's time over the kernel's, worst size", 1.0, _kernel_against_scan),
    Goal(
        "Atari: share of its environments' own rate",
        0.9,
        lambda s: max(
            figures["share_of_environments_alone"]
            for figures in s["atari"].values()
            if isinstance(figures, dict)
        ),
    ),
    Goal(
        "four trials side by side against one",
        2.5,
        lambda s: max(s["side_by_side"][f"four {how}, ratio"] for how in ("processes", "threads")),
    ),
    Goal(
        "cpu_offload: device memory saved, in observation buffers",
        0.9,
        lambda s: s["offload"]["bytes_saved"] / s["offload"]["observation_buffer_bytes"],
    ),
    Goal(
        "out of memory: steps/s of the run after it",
        1.0,
        lambda s: s["offload"]["the next run"]["steps_per_second"],
    ),
    Goal("sweep of 32 trials: exit status", 0, lambda s: s["sweep"]["exit_status"], below=True),
)
"""The Atari scores within so many steps are the goals of the long runs (`--long`)."""


def judge(sections: Sections) -> list[dict[str, Any]]:
    """Every goal with what was measured."""
    return [goal.judge(sections) for goal in GOALS]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows of `judge` as Markdown."""
    lines = ["| figure | measured | goal | met |", "|---|---|---|---|"]
    for row in rows:
        measured = "not measured" if row["measured"] is None else f"{row['measured']:,.4g}"
        met = {True: "yes", False: "no", None: ""}[row["met"]]
        lines.append(f"| {row['figure']} | {measured} | {row['goal']} | {met} |")
    return "\n".join(lines)
