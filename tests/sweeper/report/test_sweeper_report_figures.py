import json
import math
from dataclasses import replace

import pytest

from sweeper.records import Observation, TrialState
from sweeper.repeats import Repeat
from sweeper.report import figures
from sweeper.report.response import comparable_scores, response_of, score_at
from sweeper.report.study_view import score_of
from sweeper.report.theme import DARK_TONES

ALL = [figures.pareto, figures.history, figures.learning_curves, figures.importance, figures.effect]
ALL += [figures.parallel, figures.contour, figures.timeline, figures.repeats]


def kinds(study_maker):
    whole = study_maker(60)
    states = {"failed": TrialState.FAILED, "paused": TrialState.PAUSED}
    yield "empty", study_maker(0)
    for number in (1, 2, 7, 60):
        yield f"{number} trials", study_maker(number)
    yield "minimize", study_maker(60, goal="minimize")
    for name, state in states.items():
        trials = tuple(
            replace(t, state=state, curve=() if name == "failed" else t.curve) for t in whole.trials
        )
        yield name, replace(whole, trials=trials)
    yield "same scores", replace(whole, trials=tuple(replace(t, score=1.0, curve=()) for t in whole.trials))
    yield "costs in steps", replace(whole, cost_name="agent_steps")


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def test_every_figure_is_drawn_for_every_kind_of_study(study_maker) -> None:
    for name, study in kinds(study_maker):
        for draw in ALL:
            figure = draw(study)
            json.loads(figure.to_json(), parse_constant=refuse)
            assert figure.data or figure.layout.annotations, (name, draw)


def test_colours_have_a_dark_partner(study_maker) -> None:
    known = {tone.lower() for tone in DARK_TONES}

    def colours(part):
        if isinstance(part, dict):
            for value in part.values():
                yield from colours(value)
        elif isinstance(part, list):
            for value in part:
                yield from colours(value)
        elif isinstance(part, str) and part.startswith("#"):
            yield part.lower()

    for study in (study_maker(40), study_maker(0)):
        for draw in ALL:
            assert set(colours(json.loads(draw(study).to_json()))) <= known


def test_the_front_is_what_nothing_beats(study_maker) -> None:
    for goal in ("maximize", "minimize"):
        study = study_maker(80, goal=goal)
        sign = study.sign
        expected = {
            a.number
            for a in study.complete
            if not any(
                (b.cost_seconds <= a.cost_seconds and sign * b.score >= sign * a.score)
                and (b.cost_seconds < a.cost_seconds or sign * b.score > sign * a.score)
                for b in study.complete
            )
        }
        assert {trial.number for trial in study.pareto_front} == expected


def test_the_best_is_drawn_at_its_place(study) -> None:
    star = next(trace for trace in figures.pareto(study).data if trace.name == "best")
    assert (star.x[0], star.y[0]) == (study.best.cost_seconds, study.best.score)


def test_importance_finds_what_matters(study_maker) -> None:
    importances = response_of(study_maker(300, seed=3)).importances
    assert set(importances.ordered()[:3]) >= {"train.learning_rate", "train.gamma"}
    assert "train.update_epochs" in importances.ordered()[3:]
    for shares in (importances.fanova, importances.ped_anova):
        assert math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9)


def test_the_main_effect_peaks_where_the_score_does(study_maker) -> None:
    study = study_maker(300, seed=3)
    response = response_of(study)
    index = [parameter.name for parameter in response.parameters].index("train.gamma")
    grid, effect = response.main_effect(index)
    peak = response.axes[index].value_at(grid[effect.argmax()])
    assert 0.985 < peak < 0.9995


def test_trials_that_were_cut_short_are_compared_at_equal_lengths(study_maker) -> None:
    study = study_maker(100)
    cut = tuple(
        replace(t, state=TrialState.PAUSED) if t.state is TrialState.COMPLETE and t.number > 20 else t
        for t in study.trials
    )
    short = replace(study, trials=cut)
    compared, at_steps = comparable_scores(short)
    assert at_steps is not None
    assert len(compared) > len(short.complete)
    for trial, score in compared:
        assert short.curve(trial)[-1].agent_steps >= at_steps
        assert score == score_at(short.curve(trial), at_steps)


def test_late_first_scores_leave_the_complete_trials(study_maker) -> None:
    """Atari at a small budget: the shortest trial's length lies before the first episode's end of all others."""
    study = study_maker(9)
    trials = tuple(
        replace(trial, state=TrialState.COMPLETE if trial.number < 3 else TrialState.PAUSED, score=1.0)
        for trial in study.trials
    )
    curves = {
        trial.uuid: tuple(
            Observation(steps, 1.0, 1.0) for steps in ((4000,) if trial.number == 8 else (9000, 40_000))
        )
        for trial in trials
    }
    compared, at_steps = comparable_scores(replace(study, trials=trials, curves=curves))
    assert at_steps is None
    assert [trial.number for trial, _ in compared] == [0, 1, 2]


def test_repeats_show_what_the_sweep_had_said(study) -> None:
    best = study.best
    drawing = figures.repeats(replace(study, repeats=(Repeat(best.number, (1.0, 2.0), 1.5, (1.0, 2.0)),)))
    (swept,) = [trace for trace in drawing.data if trace.name == "in the sweep"]
    assert swept.x == (best.score,)


def test_complete_trials_are_enough_when_most_are_complete(study_maker) -> None:
    study = study_maker(60)
    complete = tuple(t for t in study.trials if t.state is TrialState.COMPLETE)
    compared, at_steps = comparable_scores(replace(study, trials=complete))
    assert at_steps is None
    assert [score for _, score in compared] == [score_of(trial) for trial in complete]


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_the_ranking_begins_with_the_best(study_maker, goal: str) -> None:
    study = study_maker(50, goal=goal)
    scores = [study.sign * score_of(trial) for trial in study.ranking]
    assert scores == sorted(scores, reverse=True)


def test_the_orange_line_is_the_best_trial_where_another_led_early(study_maker) -> None:
    """Trials compared after few steps may be led by one that came to less in the end, or was paused."""
    whole = study_maker(40)
    trials = tuple(t if t == whole.best else replace(t, state=TrialState.PAUSED) for t in whole.trials)
    best = whole.best
    assert best is not None
    slow = replace(
        best, curve=tuple(replace(p, score=p.score * 0.2) for p in best.curve[:-1]) + best.curve[-1:]
    )
    study = replace(whole, trials=tuple(slow if t == best else t for t in trials))
    compared, at_steps = comparable_scores(study)
    leader = max(compared, key=lambda pair: pair[1])[0]
    assert at_steps is not None
    assert leader != study.best
    orange = figures.parallel(study).data[-1]
    assert orange.hovertemplate.startswith(f"trial {best.number}, best")


def test_a_configuration_that_does_not_fit_is_not_called_a_failure(study_maker) -> None:
    whole = study_maker(60)
    assert "failed" in [trace.name for trace in figures.history(whole).data]
    changed = tuple(
        replace(t, state=TrialState.INFEASIBLE) if t.state is TrialState.FAILED else t for t in whole.trials
    )
    names = [trace.name for trace in figures.history(replace(whole, trials=changed)).data]
    assert "infeasible" in names
    assert "failed" not in names
