import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.clock import VirtualClock
from sweeper.errors import StudyNotFoundError, SweepError
from sweeper.export import (
    as_json,
    choose_trial,
    config_from_text,
    export_trial,
    merge_into,
    pareto_front,
    pareto_trials,
    trial_config,
    write_exported,
)
from sweeper.folder import write_folder
from sweeper.records import Trial, TrialState
from sweeper.store.ledger import Ledger
from trainer.config import dump_config, load_config_file
from trainer.errors import ConfigError


def test_the_best_trial_is_taken(filled) -> None:
    assert choose_trial(filled.study).number == 1
    assert choose_trial(filled.study, 2).number == 2


def test_a_trial_that_is_not_there_is_an_error(filled) -> None:
    with pytest.raises(StudyNotFoundError, match="0 to 3"):
        choose_trial(filled.study, 99)


def test_without_a_complete_trial_there_is_no_best(fill) -> None:
    with pytest.raises(SweepError, match="no complete trial"):
        choose_trial(fill(scores=()).study)


def test_without_a_complete_trial_the_one_that_has_come_furthest_is_named(rehearsal) -> None:
    rehearsal.run(
        *("--sweep.method", "thaw", "--sweep.pruner", "promotion", "--sweep.max-cost-seconds", "8"),
        *("--sweep.max-runs", "50"),
    )
    with pytest.raises(SweepError) as caught:
        choose_trial(rehearsal.study)
    assert "trial 0 with score" in caught.value.paragraph()
    assert "at 30 % of its steps: puffer-sweep export" in caught.value.paragraph()
    assert "--trial 0." in caught.value.paragraph()


def test_the_file_loads_to_the_trials_config(filled, tmp_path) -> None:
    exported = export_trial(filled.study, filled.study.trial(1))
    write_exported(exported, tmp_path / "best.ini")
    loaded = load_config_file(tmp_path / "best.ini")
    assert loaded == exported.config
    assert loaded.train.learning_rate == 0.002
    assert loaded.train.seed == 101
    assert loaded.train.device == "auto"
    assert loaded.sweep.parameters == filled.config.sweep.parameters


def test_the_trials_own_file_is_preferred(filled) -> None:
    resolved = filled.config.override(
        {"train.learning_rate": 0.002, "vec.num_workers": 2, "train.device": "cpu"}
    )
    write_folder(filled.study.trial_folder(1), dump_config(resolved), "puffer-sweep start mine.ini")
    config = trial_config(filled.study, filled.study.trial(1))
    assert config == resolved.override({"train.device": "auto"})


def test_the_header_says_where_it_comes_from(filled) -> None:
    text = export_trial(filled.study, filled.study.trial(1)).text
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert "trial 1 of the study mine" in header[0]
    assert "score 30 (maximize)" in header[1]
    assert any("puffer-sweep train" in line for line in header)


values = st.fixed_dictionaries(
    {
        "train.learning_rate": st.floats(1e-5, 0.1),
        "train.gamma": st.floats(0.8, 0.9999),
        "train.ent_coef": st.floats(0, 1),
        "train.minibatch_size": st.sampled_from([256, 512, 1024]),
        "train.optimizer": st.sampled_from(["adam", "muon"]),
        "train.anneal_lr": st.booleans(),
        "train.name": st.text(
            st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12
        ),
        "policy.hidden_size": st.integers(1, 512),
        "env.some_list": st.lists(st.integers(-5, 5), max_size=3),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(chosen=values)
def test_every_export_loads_to_the_identical_config(filled, tmp_path, chosen) -> None:
    trial = filled.study.trial(1)
    config = filled.config.override(chosen)
    write_folder(filled.study.trial_folder(1), dump_config(config), "command\nwith a line break")
    exported = export_trial(filled.study, trial)
    write_exported(exported, tmp_path / "out.ini")
    assert load_config_file(tmp_path / "out.ini") == config
    assert config_from_text(exported.text) == config


def test_json_holds_the_whole_config(filled) -> None:
    record = json.loads(as_json(export_trial(filled.study, filled.study.trial(1))))
    assert record["config"]["train.learning_rate"] == 0.002
    assert record["score"] == 30.0


def test_a_copy_of_a_users_file_keeps_comments_and_order(filled, tmp_path) -> None:
    template = tmp_path / "own.ini"
    template.write_text(
        "# my notes\n[train]\nlearning_rate = 0.5  # too high?\ntotal_timesteps = 200_000\n\n"
        "; the game\n[base]\npackage = gymnasium\nenv_name = CartPole-v1\n\n"
        "[sweep.train.learning_rate]\ndistribution = log_normal\nmin = 1e-5\nmax = 0.9\n"
    )
    text = merge_into(export_trial(filled.study, filled.study.trial(1)), template)
    body = [line for line in text.splitlines() if not line.startswith("# ") or line == "# my notes"]
    assert "learning_rate = 0.002  # too high?" in body
    assert "total_timesteps = 200_000" in body
    assert "gamma = 0.98" in body
    assert "max = 0.9" in body
    assert body.index("# my notes") < body.index("[train]") < body.index("; the game") < body.index("[base]")
    merged = tmp_path / "merged.ini"
    merged.write_text(text)
    config = load_config_file(merged)
    assert (config.train.learning_rate, config.train.gamma) == (0.002, 0.98)


def test_a_copy_of_a_file_for_several_environments_is_the_trials_config(filled, tmp_path) -> None:
    template = tmp_path / "own.ini"
    template.write_text(
        "[base]\npackage = gymnasium\nenv_name = Acrobot-v1 CartPole-v1  # two\n[train]\nlearning_rate = 0.5\n"
        "gamma = 0.9\n[CartPole-v1:train]\ngamma = 0.5  # for poles\n[Acrobot-v1:train]\ngamma = 0.7\n"
    )
    exported = export_trial(filled.study, filled.study.trial(1))
    merged = tmp_path / "merged.ini"
    merged.write_text(merge_into(exported, template))
    config = load_config_file(merged)
    assert config.base.env_name == exported.config.base.env_name == "CartPole-v1"
    assert config.train == exported.config.train.model_copy(update={"device": "auto"})
    assert "gamma = 0.98  # for poles" in merged.read_text()
    assert load_config_file(merged, env_name="Acrobot-v1").train.gamma == 0.7


def test_a_copy_of_a_file_in_another_dialect_is_refused(filled, tmp_path) -> None:
    template = tmp_path / "own.ini"
    template.write_text("[train]\nhorizon = 16\nbeta1 = 0.5\n")
    with pytest.raises(ConfigError, match="puffer-sweep convert"):
        merge_into(export_trial(filled.study, filled.study.trial(1)), template)


def test_the_front_is_told_cheapest_first(filled) -> None:
    assert [trial.number for trial in pareto_trials(filled.study)] == [0, 1]


trials = st.lists(
    st.tuples(st.floats(-10, 10), st.floats(0, 10), st.integers(0, 1000)).map(
        lambda t: Trial(0, "", TrialState.COMPLETE, {}, score=t[0], cost_seconds=t[1], agent_steps=t[2])
    ),
    max_size=12,
).map(lambda found: [replace(trial, number=number) for number, trial in enumerate(found)])


@given(trials, st.sampled_from([1, -1]), st.booleans())
def test_the_front_is_what_nothing_beats(found, sign, by_steps) -> None:
    def cost(trial):
        return trial.agent_steps if by_steps else trial.cost_seconds

    front = pareto_front(found, sign=sign, by_steps=by_steps)
    for trial in found:
        beaten = any(
            cost(f) <= cost(trial) and sign * f.score >= sign * trial.score and f.number != trial.number
            for f in front
        )
        assert (trial in front) != beaten
    assert [cost(trial) for trial in front] == sorted(cost(trial) for trial in front)


def test_a_path_that_cannot_be_written_is_an_error(filled, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError, match="cannot be written"):
        write_exported(export_trial(filled.study, filled.study.trial(1)), tmp_path / "file" / "best.ini")


def test_the_header_names_versions_and_device(filled) -> None:
    ledger = Ledger(filled.study, VirtualClock())
    ledger.describe({"versions": {"puffer-sweep": "0.1.0", "torch": "2.13", "ale-py": "1"}})
    ledger.close()
    header = export_trial(filled.study, filled.study.trial(1)).header
    assert "on cpu, puffer-sweep 0.1.0, torch 2.13" in header
