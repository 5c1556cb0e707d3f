"""What every method owes, whatever it is called."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests_methods import DISCRETE, SECTIONS, TOTAL, Simulation, bowl, build_config

from sweeper.errors import SearchError
from sweeper.methods import make_method
from sweeper.methods.registry import OWN, PRUNERS, SAMPLERS
from sweeper.records import Observation, Resume, Start, Suggestion, Trial, TrialState
from sweeper.space import SearchSpace
from trainer.errors import FailureKind, UnknownNameError

METHODS = [*OWN, *(name for name in SAMPLERS if name not in ("gp", "bruteforce"))]
# Optuna's GP takes a second a proposal: a few decisions are enough to see that it is wired up.
DECISIONS = {"gp": 12, "bruteforce": 25}


def sections_for(method):
    return DISCRETE if method == "bruteforce" else SECTIONS


def decide(method, pruner="promotion", **keywords):
    simulation = Simulation(build_config(method, pruner, sections_for(method)), **keywords)
    for _ in range(DECISIONS.get(method, 30)):
        assert simulation.step()
    return simulation


@pytest.mark.parametrize("method", [*METHODS, "gp", "bruteforce"])
def test_decisions_lie_in_the_space_and_resolve(method):
    simulation = decide(method)
    assert any(trial.score is not None for trial in simulation.trials.values())


@pytest.mark.parametrize("method", [*METHODS, "bruteforce"])
def test_a_study_goes_on_after_a_kill_as_if_nothing_had_happened(method):
    whole = decide(method)
    half = Simulation(build_config(method, "promotion", sections_for(method)))
    for _ in range(DECISIONS.get(method, 30) // 2):
        half.step()
    # The snapshots come back from the store in any order.
    after = Simulation(half.config, trials=tuple(reversed(half.snapshots())))
    for _ in range(DECISIONS.get(method, 30) - DECISIONS.get(method, 30) // 2):
        after.step()
    assert {u: (dict(t.values), t.state) for u, t in after.trials.items()} == {
        u: (dict(t.values), t.state) for u, t in whole.trials.items()
    }


SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from tests_methods import Simulation, build_config
out = {}
for name in sys.argv[2:]:
    s = Simulation(build_config(name))
    for _ in range(14):
        s.step()
    out[name] = [sorted(map(str, t.values.items())) for t in s.trials.values()]
print(json.dumps(out))
"""


def test_seeded_searches_agree_across_fresh_processes():
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", SCRIPT, folder, *METHODS]
    outputs = [
        subprocess.run(
            command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    first, second = (json.loads(text.splitlines()[-1]) for text in outputs)
    assert first == second


@pytest.mark.parametrize("method", METHODS)
def test_asking_twice_brings_the_same_answer(method):
    simulation = decide(method)
    assert simulation.method.next(simulation.snapshots()) == simulation.method.next(simulation.snapshots())


@pytest.mark.parametrize("method", ["thaw", "tpe", "random"])
def test_the_seed_decides(method):
    one, other = decide(method, seed=1), decide(method, seed=2)
    assert [t.values for t in one.trials.values()] != [t.values for t in other.trials.values()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("score", [0.0, math.nan, math.inf, -math.inf])
def test_constant_and_broken_scores_stop_nobody(method, score):
    decide(method, formula=lambda values, space: score)


@pytest.mark.parametrize("method", METHODS)
def test_a_search_in_which_everything_crashes_goes_on(method):
    simulation = decide(method, crash=lambda values: True)
    assert all(trial.state is TrialState.FAILED for trial in simulation.trials.values())
    assert simulation.method.best(simulation.snapshots()) is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("names", [["train.gamma"], ["train.optimizer"], ["train.update_epochs"]])
def test_a_single_parameter_is_enough(method, names):
    simulation = Simulation(build_config(method, sections={name: SECTIONS[name] for name in names}))
    for _ in range(12):
        if not simulation.step():
            assert method == "grid"
            break


@pytest.mark.parametrize("method", [*METHODS, "bruteforce"])
def test_steps_are_kept(method):
    sections = {
        "train.gae_lambda": {"distribution": "uniform", "min": 0.6, "max": 0.97, "step": 0.1},
        "train.update_epochs": {"distribution": "int_uniform", "min": 1, "max": 9, "step": 2},
    }
    simulation = Simulation(build_config(method, sections=sections))
    for _ in range(12):
        simulation.step()
    assert {t.values["train.gae_lambda"] for t in simulation.trials.values()} <= {0.6, 0.7, 0.8, 0.9}
    assert {t.values["train.update_epochs"] for t in simulation.trials.values()} <= {1, 3, 5, 7, 9}


@pytest.mark.parametrize("method", METHODS)
def test_only_categories_are_enough(method):
    sections = {
        "train.optimizer": {"distribution": "categorical", "values": ["adam", "muon"]},
        "train.compile": {"distribution": "categorical", "values": [True, False]},
    }
    simulation = Simulation(build_config(method, sections=sections))
    for _ in range(10):
        simulation.step()


@pytest.mark.parametrize("method", ["thaw", "tpe", "cmaes", "gp"])
def test_minimising_is_maximising_upside_down(method):
    up = decide(method)
    down = Simulation(build_config(method, goal="minimize"), sign=-1.0)
    for _ in range(DECISIONS.get(method, 30)):
        down.step()
    assert [dict(t.values) for t in down.trials.values()] == [dict(t.values) for t in up.trials.values()]
    best_up, best_down = up.method.best(up.snapshots()), down.method.best(down.snapshots())
    assert best_up.uuid == best_down.uuid


@pytest.mark.parametrize("method", ["thaw", "tpe", "cmaes", "nsgaii"])
def test_methods_learn(method):
    sections = {name: SECTIONS[name] for name in ("train.learning_rate", "train.gamma")}
    simulation = Simulation(build_config(method, "none" if method != "thaw" else "promotion", sections))
    for _ in range(90):
        simulation.step()
    values = [bowl(trial.values, simulation.space) for trial in simulation.trials.values()]
    assert max(values) > 0.98
    if method != "thaw":
        # Ours goes on to explore when it has found the top.
        third = len(values) // 3
        assert sum(values[-third:]) > sum(values[:third])


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("method", ["random", "thaw"])
def test_every_pruner_goes_with_every_kind_of_method(method, pruner):
    simulation = decide(method, pruner)
    states = {trial.state for trial in simulation.trials.values()}
    assert TrialState.COMPLETE in states or pruner == "promotion"


@pytest.mark.parametrize("method", METHODS)
def test_parallel_workers_do_not_ask_for_the_same_point(method):
    simulation = decide(method)
    asked = []
    trials = dict(simulation.trials)
    for worker in range(4):
        decision = simulation.method.next(tuple(trials.values()))
        if isinstance(decision, Resume):
            asked.append(decision.uuid)
            trials[decision.uuid] = replace(trials[decision.uuid], state=TrialState.RUNNING)
        else:
            asked.append(tuple(decision.values.items()))
            number = len(trials)
            trials[f"w{worker}"] = Trial(
                number, f"w{worker}", TrialState.RUNNING, decision.values, total_agent_steps=TOTAL
            )
    assert len(set(asked)) == 4


@pytest.mark.parametrize("method", METHODS)
def test_infeasible_points_are_not_asked_for_ever(method):
    simulation = decide(method)
    trials = dict(simulation.trials)
    seen = set()
    for i in range(6):
        decision = simulation.method.next(tuple(trials.values()))
        if not isinstance(decision, Start):
            break
        seen.add(tuple(decision.values.items()))
        trials[f"i{i}"] = Trial(
            len(trials), f"i{i}", TrialState.INFEASIBLE, decision.values, failure_kind=FailureKind.CONFIG
        )
    else:
        assert len(seen) == 6


@pytest.mark.parametrize(
    "name", ["THAW", "Tpe", "CmaEs", "cma-es", "BruteForce", "brute_force", "NSGAII", "Random"]
)
def test_names_come_in_any_case(name):
    config = build_config(name, sections=DISCRETE)
    assert make_method(config, SearchSpace.from_config(config), 0).name


def test_unknown_names_name_the_nearest():
    config = build_config("tpee")
    with pytest.raises(UnknownNameError, match="Did you mean tpe"):
        make_method(config, SearchSpace.from_config(config), 0)
    config = build_config("tpe", "medium")
    with pytest.raises(UnknownNameError, match="Did you mean median"):
        make_method(config, SearchSpace.from_config(config), 0)


def test_carbs_is_read_as_ours_and_says_so():
    config = build_config("Carbs")
    assert any("Carbs" in note for note in make_method(config, SearchSpace.from_config(config), 0).notes)


def many_trials(count):
    space = SearchSpace.from_config(build_config())
    for number in range(count):
        z = (number * 0.618034) % 1
        values = {p.name: p.from_unit((z * (i + 1)) % 1) for i, p in enumerate(space.parameters)}
        curve = (Observation(TOTAL // 2, 50.0, z), Observation(TOTAL, 100.0, z))
        yield Trial(number, f"m{number}", TrialState.COMPLETE, values, curve, z, 100.0, TOTAL, TOTAL)


@pytest.mark.parametrize("method", ["gp", "cmaes", "nsgaii", "protein"])
def test_methods_that_would_take_for_ever_refuse(method):
    config = build_config(method, "none")
    limit = {"gp": 1000, "cmaes": 20_000, "nsgaii": 5_000, "protein": 5_000}[method]
    trials = tuple(many_trials(limit + 1))
    with pytest.raises(SearchError, match=str(limit)):
        make_method(config, SearchSpace.from_config(config), 0).next(trials)


@pytest.mark.parametrize("method", ["random", "thaw", "tpe"])
def test_a_study_of_twenty_thousand_trials_still_gets_an_answer(method):
    config = build_config(method, "none" if method != "thaw" else "promotion")
    assert (
        make_method(config, SearchSpace.from_config(config), 0).next(tuple(many_trials(20_000))) is not None
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["thaw", "tpe"])
def test_a_study_of_a_hundred_thousand_trials_still_gets_an_answer(method):
    config = build_config(method, "none" if method != "thaw" else "promotion")
    decision = make_method(config, SearchSpace.from_config(config), 0).next(tuple(many_trials(100_000)))
    assert decision is not None


@pytest.mark.parametrize("method", ["thaw", "tpe", "nsgaii", "random"])
def test_two_objectives(method):
    pruner = "none" if method != "thaw" else "promotion"
    simulation = Simulation(build_config(method, pruner, objectives=("score", "cost")))
    for _ in range(25):
        assert simulation.step()


def test_several_objectives_are_refused_where_they_cannot_be():
    config = build_config("cmaes", "none", objectives=("score", "cost"))
    with pytest.raises(SearchError, match="one objective"):
        make_method(config, SearchSpace.from_config(config), 0)


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name != "none"])
def test_pruners_do_not_follow_the_cost(pruner):
    config = build_config("tpe", pruner, objectives=("cost", "score"))
    with pytest.raises(SearchError, match="first objective"):
        make_method(config, SearchSpace.from_config(config), 0)


@pytest.mark.parametrize(("method", "pruner"), [("tpe", "none"), ("thaw", "promotion")])
def test_the_order_of_objectives_is_free_where_nothing_is_pruned_by_the_first(method, pruner):
    simulation = Simulation(build_config(method, pruner, objectives=("cost", "score")))
    for _ in range(6):
        assert simulation.step()


@pytest.mark.parametrize("method", ["thaw", "tpe"])
def test_objectives_without_a_score_are_refused(method):
    config = build_config(method, "none", objectives=("cost",))
    with pytest.raises(SearchError, match="no score"):
        make_method(config, SearchSpace.from_config(config), 0)


def test_percentile_sees_ranks_only():
    def values_with(bend):
        simulation = Simulation(build_config("thaw", metric_distribution="percentile"), bend=bend)
        for _ in range(12):
            simulation.step()
        return [trial.values for trial in simulation.trials.values()]

    # Bent a little, so that means over the end of a curve keep their order as well.
    assert values_with(float) == values_with(lambda level: math.exp(0.3 * level))


@pytest.mark.parametrize("method", ["thaw", "tpe", "protein"])
def test_a_warm_start_shows_where_it_was_good(method):
    sections = {name: SECTIONS[name] for name in ("train.learning_rate", "train.gamma")}
    earlier = Simulation(build_config(method, "none", sections))
    for _ in range(40):
        earlier.step()
    config = build_config(method, "promotion", sections)
    space = SearchSpace.from_config(config)
    warm = make_method(config, space, 9, earlier=earlier.snapshots())
    first = [
        Trial(i, f"u{i}", TrialState.RUNNING, p.values, total_agent_steps=TOTAL)
        for i, p in enumerate(space.first_points())
    ]
    decision = warm.next(first)
    # An earlier study's trials can be learnt from, never continued.
    assert isinstance(decision, Start)
    assert bowl(decision.values, space) > 0.7


def test_enqueued_points_come_after_the_first_ones():
    config = build_config("thaw")
    space = SearchSpace.from_config(config)
    wanted = {p.name: p.from_unit(0.9) for p in space.parameters}
    method = make_method(config, space, 0, enqueued=[Suggestion(wanted, "enqueued")])
    trials, sources = [], []
    for number in range(4):
        decision = method.next(tuple(trials))
        sources.append(decision.source)
        trials.append(
            Trial(number, f"u{number}", TrialState.RUNNING, decision.values, total_agent_steps=TOTAL)
        )
    assert sources == ["config", "means", "enqueued", "thaw"]
    assert trials[2].values == wanted
