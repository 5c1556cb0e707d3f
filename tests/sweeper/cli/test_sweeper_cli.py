import json
import os
import re

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sweeper.cli import cli, run
from sweeper.cli.group import SUMMARIES, module_name
from sweeper.cli.settings import split_settings
from sweeper.cli.status import board_of
from sweeper.clock import SystemClock
from sweeper.records import TrialState
from sweeper.store.ledger import Ledger
from trainer.config import load_config_file, parse_overrides


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_command_has_help_with_an_example(name: str, capsys) -> None:
    code, out, _ = call(capsys, name, "--help")
    assert code == 0
    assert re.search(r"Examples?:\n\s+puffer-sweep " + name, out)


def test_help_lists_all_commands_and_nothing_else(capsys) -> None:
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert set(re.findall(r"^  (\w+)  +[A-Z]", out, re.MULTILINE)) == set(SUMMARIES)
    for name in SUMMARIES:
        assert cli.get_command(None, name).name == name, module_name(name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["strat"], "Did you mean 'start'"),
        (["start"], "Missing argument 'CONFIG'"),
        (["export", "--bogus"], "No such option"),
        (["extend", "--runs", "0"], "--runs"),
        (["export", "--pareto", "--trial", "3"], "--pareto goes with neither"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, words: str, capsys, here) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert words in err
    assert files(here) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["start", "missing.ini"], "does not exist"),
        (["start", "no-such-game"], "no config is for 'no-such-game'"),
        (["start", "CartPole-v1", "--train.gama", "0.9"], "Did you mean"),
        (["start", "CartPole-v1", "--train.gamma", "2"], "gamma"),
        (["start", "CartPole-v1", "--train.gamma"], "has no value"),
        (["start", "CartPole-v1", "--study", "../up"], "no name for a study"),
        (["start", "CartPole-v1", "--sweep.train.learning_rate.min", "1"], "not below max"),
        (["list"], "no database"),
        (["status"], "no database"),
        (["report"], "no database"),
        (["export"], "no database"),
        (["eval", "somewhere"], "no database"),
        (["dashboard"], "no database"),
    ],
)
def test_mistakes_exit_with_1_and_one_paragraph(arguments, words: str, capsys, here) -> None:
    code, out, err = call(capsys, *arguments)
    assert code == 1
    assert out == ""
    assert words in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert files(here) == []


def test_a_mistake_before_a_run_leaves_no_folder(capsys, here) -> None:
    code, _, err = call(capsys, "train", "CartPole-v1", "--train.device", "cuda:77")
    assert code == 1
    assert "cuda:77" in err
    assert files(here) == []


def test_config_help_lists_settings_with_their_values(capsys, tmp_path) -> None:
    ini = tmp_path / "mine.ini"
    ini.write_text("[base]\npackage = gymnasium\nenv_name = CartPole-v1\n[train]\ngamma = 0.9123\n")
    code, out, _ = call(capsys, "start", ini, "--help", "--train.gae-lambda", "0.5")
    assert code == 0
    assert "[train]:" in out
    assert "--train.gamma 0.9123" in out
    assert "--train.gae-lambda 0.5" in out
    assert "--env-name CartPole-v1" in out


own = {"--study": True, "--plain": False, "-h": False}


@pytest.mark.parametrize(
    ("words", "mine", "settings"),
    [
        (["a.ini", "--train.x", "-1e-3"], ["a.ini"], ["--train.x=-1e-3"]),
        (["--study", "--odd", "a.ini"], ["--study", "--odd", "a.ini"], []),
        (["--plain", "a.ini", "--env-name", "b"], ["--plain", "a.ini"], ["--env-name=b"]),
        (["a", "--policy.sizes", "[64,", "64]", "--plain"], ["a", "--plain"], ["--policy.sizes=[64, 64]"]),
        (["a", "--train.compile=False"], ["a"], ["--train.compile=False"]),
        (["a", "--train.compile", "--plain"], ["a", "--plain"], ["--train.compile"]),
        (["a", "--study=x"], ["a", "--study=x"], []),
    ],
)
def test_settings_are_told_from_options(words, mine, settings) -> None:
    assert split_settings(words, own) == (mine, settings)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_any_number_reaches_its_setting(value) -> None:
    _, settings = split_settings(["a.ini", "--env.limit", repr(value)], own)
    (override,) = parse_overrides(settings)
    assert override.value == value


def test_list_and_status(filled, capsys) -> None:
    code, out, _ = call(capsys, "list", "--storage", filled.storage)
    assert code == 0
    assert "mine" in out
    code, out, _ = call(capsys, "list", "--json", "--storage", filled.storage)
    (record,) = json.loads(out)
    assert (record["study"], record["best_score"], record["best_trial"]) == ("mine", 30.0, 1)
    code, out, _ = call(capsys, "status", "--json", "--storage", filled.storage)
    status = json.loads(out)
    assert [trial["state"] for trial in status["trials"]] == ["complete", "complete", "complete", "failed"]
    code, out, _ = call(capsys, "status", "mine", "--storage", filled.storage)
    assert "The policy loss is NaN." in out
    assert "No sweep runs" in out


def test_a_list_in_a_pipe_breaks_no_word(filled, capsys) -> None:
    _, out, _ = call(capsys, "list", "--storage", filled.storage)
    assert len(out.splitlines()) == 2
    assert filled.study.spec.environment in out


def test_status_knows_what_the_live_screen_knows(filled) -> None:
    """Device, budget of time and pace, read from the database by another process."""
    ledger = Ledger(filled.study, SystemClock())
    ledger.describe({"deadline": 4e9})
    ledger.writer.flush()
    board = board_of(filled.study)
    ledger.close()
    assert board.deadline == 4e9
    assert board.device == "cpu"
    assert board_of(filled.study).deadline is None


def test_report_writes_into_the_studys_folder(filled, capsys) -> None:
    code, out, _ = call(capsys, "report", "--storage", filled.storage)
    assert code == 0
    path = filled.study.folder / "report.html"
    assert out == f"{path}\n"
    assert "mine" in path.read_text(encoding="utf-8")


def test_export_to_a_file_and_to_standard_output(filled, capsys, tmp_path) -> None:
    code, out, _ = call(capsys, "export", "--storage", filled.storage)
    assert code == 0
    (tmp_path / "out.ini").write_text(out)
    assert load_config_file(tmp_path / "out.ini").train.learning_rate == 0.002
    code, out, _ = call(
        capsys, "export", "--storage", filled.storage, "--trial", 2, "-o", tmp_path / "two.ini"
    )
    assert load_config_file(tmp_path / "two.ini").train.learning_rate == 0.003
    code, out, _ = call(capsys, "export", "--storage", filled.storage, "--pareto", "-o", tmp_path / "front")
    assert sorted(path.name for path in (tmp_path / "front").iterdir()) == [
        "trial-0000.ini",
        "trial-0001.ini",
    ]
    code, out, _ = call(capsys, "export", "--storage", filled.storage, "--pareto", "--json")
    assert [record["trial"] for record in json.loads(out)] == [0, 1]


def test_requests_are_carried_out_at_once_where_no_sweep_runs(filled, capsys) -> None:
    assert "The budget is" in call(capsys, "extend", "--runs", 5, "--storage", filled.storage)[1]
    before = filled.study.max_runs
    assert (
        f"The budget is {before + 2} runs now"
        in call(capsys, "extend", "--runs", 2, "--storage", filled.storage)[1]
    )
    assert "1 trial runs again" in call(capsys, "retry", "--storage", filled.storage)[1]
    assert "No trial of mine has failed" in call(capsys, "retry", "--storage", filled.storage)[1]
    assert "No sweep runs on mine" in call(capsys, "stop", "--storage", filled.storage)[1]
    assert filled.study.requests() == []
    assert filled.study.lock_info() is None
    *_, failed, fresh = filled.study.trials()
    assert (fresh.state, fresh.values) == (TrialState.QUEUED, failed.values)
    assert (fresh.attributes["retry_of"], failed.attributes["retried_as"]) == (failed.number, fresh.number)
    assert fresh.attributes["seed"] != failed.attributes.get("seed")


def test_requests_are_left_for_a_sweep_that_runs(filled, capsys) -> None:
    ledger = Ledger(filled.study, SystemClock())
    try:
        text = call(capsys, "extend", "--runs", 5, "--storage", filled.storage)[1]
        assert f"(process {os.getpid()} on " in text
        call(capsys, "retry", "--storage", filled.storage)
        assert [request.kind for request in filled.study.requests()] == ["extend", "retry"]
    finally:
        ledger.close()


def test_only_failed_trials_run_again(filled, capsys) -> None:
    code, _, err = call(capsys, "retry", "--trial", 1, "--storage", filled.storage)
    assert code == 1
    assert "Trial 1 of mine has not failed." in err


def test_delete_asks_first(filled, capsys) -> None:
    answer = CliRunner().invoke(cli, ["delete", "mine", "--storage", str(filled.storage)], input="n\n")
    assert answer.exit_code == 1
    assert filled.store.studies()
    code, _out, _ = call(capsys, "delete", "mine", "--yes", "--folders", "--storage", filled.storage)
    assert code == 0
    assert filled.store.studies() == []
    assert not filled.study.folder.exists()


def test_a_study_that_is_not_there_is_named(filled, capsys) -> None:
    code, _, err = call(capsys, "status", "yours", "--storage", filled.storage)
    assert code == 1
    assert "mine" in err


def test_envs_finds_by_part_of_a_name(capsys) -> None:
    code, out, _ = call(capsys, "envs", "cartpole", "--json")
    assert code == 0
    assert {"CartPole-v1"} <= {row["name"] for row in json.loads(out)}
    assert call(capsys, "envs", "no-such-environment")[0] == 2


def test_doctor_names_what_is_there(capsys) -> None:
    code, out, _ = call(capsys, "doctor", "--json")
    assert code == 0
    topics = {row["topic"]: row["grade"] for row in json.loads(out)}
    assert topics["python"] == topics["torch"] == topics["sqlite"] == topics["studies"] == "good"


def test_names_of_studies_and_configs_complete(filled, monkeypatch) -> None:
    import click

    from sweeper.cli.options import complete_config, complete_study

    context = click.Context(cli)
    context.params["storage"] = str(filled.storage)
    assert complete_study(context, None, "m") == ["mine"]
    context.params["storage"] = str(filled.folder / "missing.db")
    assert complete_study(context, None, "m") == []
    monkeypatch.chdir(filled.folder)
    assert "mine.ini" in [item.value for item in complete_config(context, None, "mi")]
    assert "CartPole-v1" in [item.value for item in complete_config(context, None, "Cart")]
