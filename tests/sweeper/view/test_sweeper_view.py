import io
import json
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweeper.listener import EndReason, SweepOutcome, SweepStart
from sweeper.records import Reported, Trial, TrialState
from sweeper.view.board import Board, RunningTrial
from sweeper.view.listeners import JsonListener, LineListener
from sweeper.view.screen import LiveScreen, draw
from sweeper.view.sparkline import sparkline

make_study = runpy.run_path(str(Path(__file__).parents[1] / "report" / "conftest.py"))["make_study"]
STUDY = make_study(40)
NOW = 1e9 + 5400


def make_board(num_running: int = 2) -> Board:
    board = Board(
        study_name="atari-breakout",
        environment="atari/breakout",
        method="Protein",
        device="cpu",
        max_runs=60,
        deadline=1e9 + 3 * 3600,
        started_at=1e9,
        defaults=STUDY.written,
    )
    board.add(STUDY.trials)
    for number in range(40, 40 + num_running):
        trial = STUDY.trials[number - 20 if number < 60 else 0]
        row = RunningTrial(number, trial.values, 1_100_000, 2_000_000, 123.0, 6210.0, 31.4)
        row.scores.extend(point.score for point in trial.curve)
        board.running[str(number)] = row
    board.notes.append("12:00:00  " + "a note " * 40)
    return board


def shown(board: Board, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, record=True, file=io.StringIO(), force_terminal=True)
    console.print(draw(board, now=NOW, width=width, height=height))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [10, 17, 23, 24, 45, 46, 60, 83, 84, 120, 300])
@pytest.mark.parametrize("height", [5, 12, 24, 60])
def test_the_screen_fits(width: int, height: int) -> None:
    lines = shown(make_board(num_running=9), width, height)
    assert max(len(line) for line in lines) <= width
    assert len(lines) <= height


def test_the_screen_shows_what_counts() -> None:
    text = "\n".join(shown(make_board(), 140, 40))
    best = STUDY.best
    assert "atari-breakout" in text
    assert f"{best.number}" in text
    assert "40 of 60" in text
    assert "1 h 30 min of 3 h" in text
    assert "6.21 k" in text
    assert "failed" in text


@pytest.mark.parametrize("width", [10, 12, 16])
def test_the_narrowest_screen_counts_the_runs(width: int) -> None:
    board = make_board()
    board.max_runs = 60
    assert any(line.startswith("runs 40/60") for line in shown(board, width, 24))


def test_where_nothing_runs_no_time_is_shown() -> None:
    board = make_board(num_running=0)
    board.started_at, board.deadline = 0.0, None
    assert "–" not in "\n".join(shown(board, 60, 24)[:3])
    assert "elapsed" not in "\n".join(shown(board, 120, 24))


def test_an_empty_board_says_that_it_waits() -> None:
    assert "making environments" in "\n".join(shown(Board(study_name="x"), 80, 20))


def test_leaders_are_complete_trials_first() -> None:
    board = make_board()
    leaders = board.leaders()
    assert [trial.number for trial in leaders] == [trial.number for trial in STUDY.ranking[:5]]
    board.trials = {
        u: t for u, t in board.trials.items() if t.state is TrialState.PRUNED or t.number == STUDY.best.number
    }
    leaders = board.leaders()
    assert leaders[0].number == STUDY.best.number
    assert {trial.state for trial in leaders[1:]} == {TrialState.PRUNED}


def test_time_left_follows_the_pace_and_the_deadline() -> None:
    board = make_board(num_running=0)
    assert board.seconds_left(NOW) == 5400
    board.ended_here = [1.0] * 40
    board.deadline = None
    done = board.num_done
    assert board.seconds_left(NOW) == pytest.approx((60 - done) * 5400 / 40)
    board.max_runs = None
    assert board.seconds_left(NOW) is None


def test_the_live_screen_gives_the_terminal_back() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24)
    with LiveScreen(console, lambda width, height: draw(make_board(), now=NOW, width=width, height=height)):
        pass
    written = stream.getvalue()
    assert "\x1b[?1049h" in written
    assert written.index("\x1b[?1049l") > written.index("atari-breakout")
    assert "\x1b[?25h" in written


@given(st.lists(st.floats(-1e9, 1e9), max_size=200), st.integers(0, 80))
def test_a_sparkline_fits_and_reaches_both_ends(values, width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    if line and len(set(line)) > 1:
        assert {"▁", "█"} <= set(line)


def test_a_flat_curve_is_a_flat_line() -> None:
    assert sparkline([2.0, 2.0, 2.0], 10) == "▄▄▄"


def tell(listener) -> None:
    trial = STUDY.trials[1]
    young = Trial(trial.number, trial.uuid, TrialState.RUNNING, trial.values, total_agent_steps=2_000_000)
    listener.on_sweep_started(
        SweepStart("mine", "studies.db", Path("studies/mine"), "score", "maximize", 2, 10, None, (), "Serial")
    )
    listener.on_started(young)
    report = Reported(trial.uuid, 1, 200_000, 2_000_000, 12.0, 5000.0, 3.25, {})
    listener.on_reported(young, report)
    listener.on_note("The disk is nearly full.")
    listener.on_finished(trial)
    listener.on_finished(next(t for t in STUDY.trials if t.state is TrialState.FAILED))
    listener.on_sweep_finished(
        SweepOutcome(EndReason.RUNS, trial, {TrialState.COMPLETE: 1}, "mine", Path("studies/mine"), 60.0)
    )


def test_plain_lines_tell_the_story() -> None:
    stream, time = io.StringIO(), iter(range(1_700_000_000, 1_700_100_000, 20))
    tell(LineListener(Board(environment="atari/breakout", method="Random"), stream, now=lambda: next(time)))
    text = stream.getvalue()
    for words in (
        "study mine: atari/breakout on Serial, Random, 2 at a time, budget 10 runs",
        "trial 1 starts: learning_rate=",
        "trial 1: 200 k of 2 M steps (10 %), 5 k steps/s, score 3.25",
        "The disk is nearly full.",
        "trial 1 complete: score",
        "failed: ",
    ):
        assert words in text
    assert all(line[2] == line[5] == ":" for line in text.splitlines())


def test_json_lines_are_json() -> None:
    stream = io.StringIO()
    tell(JsonListener(Board(), stream, now=lambda: 5.0))
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [record["event"] for record in records] == [
        "sweep_started", "trial_started", "trial_reported", "note", "trial_finished", "trial_finished",
        "sweep_finished",
    ]  # fmt: skip
    assert records[-1]["best"]["trial"] == 1
