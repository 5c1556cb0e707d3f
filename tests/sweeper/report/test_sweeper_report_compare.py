import json
from dataclasses import replace

from sweeper.report import compare
from sweeper.report.page import render_comparison


def test_studies_stand_side_by_side(study_maker) -> None:
    first, second = study_maker(40), replace(study_maker(30, seed=5), name="other")
    rows = {row.name: row for row in compare.compared_rows([first, second])}
    assert rows["trials"].cells[1].startswith("30, ")
    assert rows["best score"].cells[0] != rows["best score"].cells[1]
    assert rows["train.learning_rate"].differs
    for figure in (compare.pareto([first, second]), compare.progress([first, second])):
        assert {trace.name for trace in figure.data if trace.name} == {"breakout", "other"}


def test_the_best_so_far_only_rises(study_maker) -> None:
    for goal, sign in (("maximize", 1), ("minimize", -1)):
        (trace,) = compare.progress([study_maker(40, goal=goal)]).data
        heights = [sign * height for height in trace.y]
        assert heights == sorted(heights)
        assert list(trace.x) == sorted(trace.x)


def test_the_page_holds_both(study_maker) -> None:
    page = render_comparison([study_maker(20), replace(study_maker(0), name="<b>young</b>")])
    assert "&lt;b&gt;young&lt;/b&gt;" in page
    stored = page.split('id="figure-compare-pareto">')[1].split("</script>")[0]
    assert json.loads(stored)["data"]


def test_young_studies_are_told_so(study_maker) -> None:
    assert compare.pareto([study_maker(0), study_maker(0)]).layout.annotations[0].text.startswith("No study")
