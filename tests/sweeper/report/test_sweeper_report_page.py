import base64
import gzip
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs

from sweeper.formatting import format_number
from sweeper.records import TrialState
from sweeper.repeats import Repeat
from sweeper.report.page import render_page
from sweeper.report.summary import summarise
from sweeper.report.table import trial_table

NASTY = "</script><script>alert(1)</script>'\"&<b>"


class Page(HTMLParser):
    """Collects addresses, scripts and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.tags: list[str] = []
        self._script: dict[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}
        ]
        self._script = dict(attrs) if tag == "script" else None

    def handle_data(self, data):
        if self._script is not None:
            self.scripts.append((self._script, data))

    def handle_endtag(self, tag):
        self._script = None


@pytest.fixture(scope="module")
def page(study) -> str:
    return render_page(study)


def test_it_asks_the_network_for_nothing(page: str) -> None:
    parsed = Page(page)
    assert [address for address in parsed.addresses if not address.startswith(("#", "data:"))] == []
    assert "default-src 'none'" in page
    assert "@import" not in page


def test_plotly_is_in_it_once_and_compressed(page: str) -> None:
    (packed,) = [data for attrs, data in Page(page).scripts if attrs.get("id") == "plotly"]
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert len(page.encode()) < 3e6


def test_every_figure_on_the_page_has_its_data(page: str) -> None:
    wanted = re.findall(r'data-figure="([\w-]+)"', page)
    stored = {
        attrs["id"]: data for attrs, data in Page(page).scripts if attrs.get("type") == "application/json"
    }
    assert len(wanted) == len(set(wanted)) > 8
    for name in wanted:
        assert json.loads(stored[f"figure-{name}"])["data"]


def test_names_are_escaped(study_maker) -> None:
    study = study_maker(30)
    trials = tuple(
        replace(t, failure_message=NASTY, state=TrialState.FAILED) if t.number < 3 else t
        for t in study.trials
    )
    clean = Page(render_page(replace(study, trials=trials)))
    nasty = replace(
        study, trials=trials, name=NASTY, environment=NASTY, method=NASTY, metric=f"environment/{NASTY}",
        best_config=NASTY, best_changes={NASTY: (NASTY, NASTY)}, facts={NASTY: NASTY},
    )  # fmt: skip
    parsed = Page(render_page(nasty))
    assert parsed.tags.count("script") == clean.tags.count("script")
    assert parsed.tags.count("b") == 0
    for attrs, data in parsed.scripts:
        if attrs.get("type") == "application/json":
            json.loads(data)


def test_a_young_study_has_a_page(study_maker) -> None:
    for number in (0, 1, 2):
        assert "<h1>" in render_page(study_maker(number))


def test_a_watched_page_loads_itself_again(study) -> None:
    assert '<meta http-equiv="refresh" content="30">' in render_page(study, refresh_seconds=30)
    assert 'http-equiv="refresh"' not in render_page(study)


@pytest.mark.slow
def test_a_thousand_trials_stay_below_six_megabytes(study_maker) -> None:
    assert len(render_page(study_maker(1000, best_config="x\n" * 300)).encode()) < 6e6


def test_the_table_has_a_row_for_every_trial(study) -> None:
    table = trial_table(study)
    assert len(table["rows"]) == len(study.trials)
    assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    assert table["best"] == study.best.number


def test_a_trial_that_was_cut_short_has_a_speed(study) -> None:
    bare = replace(study.trials[0], attributes={}, agent_steps=3000, cost_seconds=2.0)
    table = trial_table(replace(study, trials=(bare,)))
    assert table["rows"][0][[key for key, *_ in table["columns"]].index("speed")] == (1500, "1.5 k")


def test_the_table_gives_reasons_only_where_there_are_some(study) -> None:
    assert trial_table(study)["columns"][-1][0] == "reason"
    fine = tuple(trial for trial in study.trials if trial.state is not TrialState.FAILED)
    table = trial_table(replace(study, trials=fine))
    assert table["columns"][-1][0] == "seed"
    assert {len(row) for row in table["rows"]} == {len(table["columns"])}


def words(study) -> str:
    return " ".join(paragraph.text for paragraph in summarise(study))


def test_the_summary_says_what_was_found(study) -> None:
    text = words(study)
    assert f"Trial {study.best.number} is the best" in text
    assert "Higher score is better" in text
    assert f"{len(study.in_state(TrialState.FAILED))} of {len(study.trials)} trials failed" in text


def test_the_summary_names_parameters_at_their_bounds(study_maker) -> None:
    study = study_maker(40)
    best = study.best
    moved = replace(best, values={**best.values, "train.clip_coef": 0.5})
    trials = tuple(moved if trial.number == best.number else trial for trial in study.trials)
    assert "train.clip_coef (0.5, at its maximum)" in words(replace(study, trials=trials))


def test_the_summary_tells_whether_the_leader_stands_clear(study) -> None:
    apart = (Repeat(3, (5.0, 5.0, 5.1), 5.05, (5.0, 5.1)), Repeat(4, (1.0, 1.0, 1.1), 1.05, (1.0, 1.1)))
    close = (Repeat(3, (5.0, 5.0, 5.1), 5.05, (4.0, 6.1)), Repeat(4, (4.9, 4.9, 5.0), 4.95, (4.0, 6.0)))
    assert "stands clear of the next, trial 4" in words(replace(study, repeats=apart))
    few = (Repeat(3, (5.0,), 5.0, (5.0, 5.0)), Repeat(4, (1.0,), 1.0, (1.0, 1.0)))
    assert "Fewer than 3 seeds" in words(replace(study, repeats=few))
    assert "cannot be told from the next, trial 4" in words(replace(study, repeats=close))


def test_the_summary_sets_fresh_seeds_beside_the_score_of_the_sweep(study) -> None:
    best = study.best
    again = (Repeat(best.number, (5.0, 5.0, 5.1), 5.05, (5.0, 5.1)),)
    assert f"in the sweep it came to {format_number(best.score)}" in words(replace(study, repeats=again))


def test_leaders_that_score_the_same_are_not_said_to_lie_apart(study) -> None:
    top = study.best.score
    trials = tuple(replace(t, score=top) if t is study.ranking[1] else t for t in study.trials)
    text = words(replace(study, trials=trials))
    assert "scores the same." in text
    assert "behind" not in text


def test_the_summary_of_two_objectives_speaks_of_the_front(study) -> None:
    both = replace(study, objectives=("score", "cost"))
    text = words(both)
    first, last = both.pareto_front[0], both.pareto_front[-1]
    assert "Higher score and less training time count together." in text
    assert f"{len(both.pareto_front)} trials are beaten by none in both score and cost" in text
    assert f"from trial {first.number} (" in text
    assert f"to trial {last.number} (" in text
    assert "--pareto" in text
    assert "fewer agent steps count together" in words(replace(both, cost_name="agent_steps"))
    assert "that line is what was searched for" in render_page(both)


def test_the_config_as_written_is_named_even_where_it_was_cut_short(study) -> None:
    trials = tuple(
        replace(trial, state=TrialState.PAUSED, score=1.25) if trial.number == 0 else trial
        for trial in study.trials
    )
    assert "the config as written (trial 0) was paused at 1.25" in words(replace(study, trials=trials))


def test_the_summary_of_less_is_better(study_maker) -> None:
    assert "Lower score is better" in words(study_maker(40, goal="minimize"))


def test_the_summary_of_nothing_is_short(study_maker) -> None:
    assert "No trial has started yet." in words(study_maker(0))


def test_a_dozen_trials_are_no_reason_to_fix_a_parameter(study_maker) -> None:
    few, many = words(study_maker(22)), words(study_maker(120))
    assert "seems to depend on" in few
    assert "fix" not in few
    assert "Most depends on" in many
