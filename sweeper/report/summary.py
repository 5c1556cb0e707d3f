"""The study in words: what was searched, what was found, how sure one can be, what to try next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from sweeper.formatting import (
    format_count,
    format_number,
    format_seconds,
    format_share,
    format_value,
    join_words,
)
from sweeper.records import Trial, TrialState
from sweeper.repeats import verdict
from sweeper.report.axes import Axis, axis_of
from sweeper.report.response import FEWEST_TRIALS, response_of
from sweeper.report.study_view import ENDED_EARLY, StudyView, score_of

_AT_THE_BOUND = 0.03
_HARDLY_MATTERS = 0.02
_ENOUGH_TRIALS = 25
"""Trials from which on a forest's word about what does not matter is worth acting on."""

_FAILURE_NAMES = {
    "crash": "a crash",
    "environment": "a fault in the environment",
    "not_finite": "numbers that were no longer finite",
    "out_of_memory": "too little memory",
    "out_of_device_memory": "too little memory on the device",
    "checkpoint": "a broken checkpoint",
    "config": "settings that do not fit together",
    "timeout": "the time limit for a trial",
    "hang": "silence for too long",
    "worker_lost": "a worker that died",
}


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A heading of a word or two and its sentences."""

    title: str
    text: str


def summarise(study: StudyView) -> list[Paragraph]:
    """The paragraphs of the summary, in order; those with nothing to say are left out."""
    paragraphs = [
        Paragraph("Searched", _searched(study)),
        Paragraph("Found", _found(study)),
        Paragraph("How sure", _how_sure(study)),
        Paragraph("Try next", _try_next(study)),
        Paragraph("Failures", _failures(study)),
    ]
    return [paragraph for paragraph in paragraphs if paragraph.text]


def _searched(study: StudyView) -> str:
    num_parameters = len(study.parameters)
    counts = Counter(trial.state for trial in study.trials)
    parts = [
        f"{counts[state]} {word}"
        for state, word in (
            (TrialState.COMPLETE, "ran to the end"),
            (TrialState.PRUNED, "stopped early"),
            (TrialState.PAUSED, "paused"),
            (TrialState.RUNNING, "running"),
            (TrialState.FAILED, "failed"),
            (TrialState.INFEASIBLE, "did not fit together"),
        )
        if counts[state]
    ]
    spent = sum(trial.cost_seconds for trial in study.trials)
    steps = sum(trial.agent_steps for trial in study.trials)
    method = f" by {study.method}" if study.method else ""
    words = f"{len(study.trials)} configurations of {num_parameters} {_plural(num_parameters, 'parameter')}"
    sentence = f"{words} of {study.environment} were tried{method}"
    if len(study.trials) == 1:
        sentence = f"One configuration of {study.environment} was tried{method}"
    detail = f": {join_words(parts)}" if len(parts) > 1 else ""
    better = f"{'Lower' if study.sign < 0 else 'Higher'} {study.metric_label}"
    cost = "fewer agent steps" if study.cost_name == "agent_steps" else "less training time"
    return (
        f"{sentence}{detail}. That took {format_seconds(spent)} of training and {format_count(steps)} agent steps. "
        + (f"{better} and {cost} count together." if study.wants_front else f"{better} is better.")
    )


def _found(study: StudyView) -> str:
    best = study.best
    if best is None:
        return "No trial is complete yet." if study.trials else "No trial has started yet."
    text = (
        f"Trial {best.number} {'scores best' if study.wants_front else 'is the best'}: {study.metric_label} "
        f"{format_number(best.score)} after {format_seconds(best.cost_seconds)} of training"
    )
    first = next((trial for trial in study.scored if trial.number == 0), None)
    if first is not None and first.number != best.number:
        came = "came to" if first.state is TrialState.COMPLETE else f"was {first.state.value} at"
        text += f"; the config as written (trial 0) {came} {format_number(first.score)}"
    text += "."
    if study.wants_front:
        return f"{text} {_front(study)}"
    cheap = _cheap_and_good(study, best)
    if cheap is not None:
        text += (
            f" Trial {cheap.number} comes close ({format_number(cheap.score)}) "
            f"for {format_share(study.cost(cheap) / study.cost(best))} of its cost."
        )
    return text


def _front(study: StudyView) -> str:
    """The front from its cheap end to its good end."""
    front = study.pareto_front
    if len(front) < 2:
        return "It costs least as well, so that nothing is to be weighed."
    ends = [
        f"trial {trial.number} ({format_number(trial.score)} for {study.cost_text(trial)})"
        for trial in (front[0], front[-1])
    ]
    return (
        f"{len(front)} trials are beaten by none in both score and cost, from {ends[0]} to {ends[1]}: "
        f"puffer-sweep export {study.name} --pareto -o front writes them all."
    )


def _cheap_and_good(study: StudyView, best: Trial) -> Trial | None:
    """The cheapest trial of the front within a tenth of the best score's distance to the median."""
    if len(study.complete) < FEWEST_TRIALS or study.cost(best) <= 0:
        return None
    median = float(np.median([score_of(trial) for trial in study.complete]))
    close = score_of(best) - 0.1 * (score_of(best) - median)
    for trial in study.pareto_front:
        good = study.sign * score_of(trial) >= study.sign * close
        if good and trial.number != best.number and study.cost(trial) < 0.8 * study.cost(best):
            return trial
    return None


def _how_sure(study: StudyView) -> str:
    if study.repeats:
        return _confirmed(study)
    if study.best is None:
        return ""
    if len(study.ranking) < 2:
        return "With a single complete trial there is nothing to compare with."
    best, second = study.ranking[:2]
    gap, noise = abs(score_of(best) - score_of(second)), _wobble(study)
    text = (
        f"Each configuration was trained once, so luck is part of every score. The second best, trial {second.number}, "
        + (f"lies {format_number(gap)} behind" if gap else "scores the same")
    )
    if gap and noise is not None:
        verdict = "less than" if gap < noise else "more than"
        text += f"; that is {verdict} the best curve itself wavers at its end (±{format_number(noise, 2)})"
    return f"{text}. To tell the leaders apart: puffer-sweep confirm {study.name} --top 5 --seeds 5."


def _confirmed(study: StudyView) -> str:
    first = study.repeats[0]
    seeds = len(first.scores)
    low, high = (format_number(bound) for bound in first.interval)
    text = (
        f"Trained again with {seeds} fresh {_plural(seeds, 'seed')}, trial {first.trial_number} has the best mean: "
        f"{format_number(first.mean)} (95 % interval {low} to {high})"
    )
    swept = next((trial.score for trial in study.scored if trial.number == first.trial_number), None)
    text += f"; in the sweep it came to {format_number(swept)}." if swept is not None else "."
    if len(study.repeats) > 1:
        second = study.repeats[1]
        text += f" {verdict(first, second)}"
    return text


def _wobble(study: StudyView) -> float | None:
    """Standard deviation of the last fifth of the best learning curve."""
    if study.best is None:
        return None
    scores = [point.score for point in study.curve(study.best)]
    tail = scores[-max(4, len(scores) // 5) :]
    return float(np.std(tail, ddof=1)) if len(tail) >= 4 else None


def _try_next(study: StudyView) -> str:
    best = study.best
    if best is None:
        return ""
    sentences = []
    at_bounds = []
    for parameter in study.parameters:
        axis = axis_of(parameter)
        end = _bound(axis, best, parameter.name)
        if end is not None:
            at_bounds.append(f"{parameter.name} ({format_value(best.values[parameter.name])}, at its {end})")
    if at_bounds:
        which = "this parameter" if len(at_bounds) == 1 else "these parameters"
        sentences.append(
            f"The best trial lies at a bound of {which}: {join_words(at_bounds)}. Widen the range there."
        )
    response = response_of(study)
    if response is None:
        missing = FEWEST_TRIALS - len(study.complete)
        if missing > 0:
            trials = f"{missing} more complete {_plural(missing, 'trial')}"
            sentences.append(f"After {trials} the report can say which parameters matter.")
        return " ".join(sentences)
    ordered = response.importances.ordered()
    num_trials = len(response.trials)
    if num_trials < _ENOUGH_TRIALS:
        if ordered:
            sentences.append(
                f"Most seems to depend on {join_words(ordered[:2])}; {num_trials} trials tell little."
            )
        return " ".join(sentences)
    if ordered:
        sentences.append(f"Most depends on {join_words(ordered[:2])}.")
    idle = [name for name in ordered[2:] if response.importances.mean(name) < _HARDLY_MATTERS]
    if idle:
        them = "it" if len(idle) == 1 else "them"
        sentences.append(f"Hardly anything hangs on {join_words(idle)}: fix {them} and search less.")
    return " ".join(sentences)


def _bound(axis: Axis, trial: Trial, name: str) -> str | None:
    if axis.kind == "categorical" or name not in trial.values:
        return None
    share = axis.unit(trial.values[name])
    return "minimum" if share <= _AT_THE_BOUND else "maximum" if share >= 1 - _AT_THE_BOUND else None


def _failures(study: StudyView) -> str:
    failed = study.in_state(TrialState.FAILED)
    if not failed:
        return ""
    reasons = Counter(trial.failure_kind.value if trial.failure_kind else "crash" for trial in failed)
    parts = [f"{_FAILURE_NAMES.get(reason, reason)} ({count})" for reason, count in reasons.most_common()]
    share = format_share(len(failed) / len(study.trials))
    ended = len(study.in_state(TrialState.COMPLETE, TrialState.FAILED, *ENDED_EARLY))
    text = f"{len(failed)} of {len(study.trials)} trials failed ({share}): {join_words(parts)}."
    if ended and len(failed) / ended > 0.2:
        text += f" That is a lot: puffer-sweep retry {study.name} runs them again once the cause is gone."
    return text


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
