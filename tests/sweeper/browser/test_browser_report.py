"""The report in a real browser: no request, no complaint, everything drawn, in the light, in the dark and on paper."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from planted_browser import Browser, find_browser

from sweeper.report.page import render_comparison, render_page

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    program = "import av, numpy as np, sys\n" + _FILM
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def pages(study_maker, film):
    """Reports by their number of trials, each made once, beside the film."""
    made = {}

    def make(num_trials: int) -> Path:
        if num_trials not in made:
            study = study_maker(num_trials)
            best = study.best
            if best is not None:
                ini = "[train]\nseed = 1\n" * 30
                study = replace(study, best_config=ini, videos={best.number: film})
            made[num_trials] = film.parent / f"report-{num_trials}.html"
            made[num_trials].write_text(render_page(study, folder=film.parent), encoding="utf-8")
        return made[num_trials]

    return make


@pytest.fixture
def shown(browser, pages):
    """The report of a study, opened."""

    def show(num_trials: int) -> Browser:
        page = pages(num_trials)
        assert page.stat().st_size < 6e6
        browser.complaints.clear()
        browser.requests.clear()
        browser.resize(1280, 900)
        browser.open(page.as_uri())
        browser.wait_for("document.documentElement.dataset.ready === 'true'")
        return browser

    return show


_FILM = """
with av.open(sys.argv[1], "w") as container:
    stream = container.add_stream("libx264", rate=15)
    stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
    rng = np.random.default_rng(0)
    for _ in range(400):
        frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
"""

DRAWN = "[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))"


def network(browser: Browser) -> list[str]:
    return [address for address in browser.requests if not address.startswith(("file:", "data:", "blob:"))]


@pytest.mark.parametrize("num_trials", [0, 1, 40, 1000])
def test_it_opens_without_network_and_without_complaint(shown, num_trials) -> None:
    browser = shown(num_trials)
    assert browser.evaluate(DRAWN)
    assert network(browser) == []
    assert [address for address in browser.requests if address.startswith("file:")] == [browser.requests[0]]
    assert browser.complaints == []


def test_the_film_plays(shown) -> None:
    browser = shown(40)
    browser.wait_for("document.querySelector('video').readyState >= 2")
    assert 1 < browser.evaluate("document.querySelector('video').duration") < 27
    browser.evaluate("document.querySelector('video').play()")
    browser.wait_for("document.querySelector('video').currentTime > 0.1")
    assert browser.evaluate("document.querySelector('.films a').getAttribute('href')") == "film.mp4"
    assert browser.complaints == []


def test_the_table_sorts_and_filters(shown) -> None:
    browser = shown(120)
    rows = "[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[{0}].innerText)"
    scores = [float(text) for text in browser.evaluate(rows.format(2)) if text != "–"]
    assert scores == sorted(scores, reverse=True)
    browser.press("#table th")
    numbers = [int(text) for text in browser.evaluate(rows.format(0))]
    assert numbers == list(range(50))
    browser.evaluate(
        "(() => { const f = document.getElementById('filter'); f.value = 'failed';"
        " f.dispatchEvent(new Event('input')); })()"
    )
    assert set(browser.evaluate(rows.format(1))) == {"failed"}
    browser.evaluate(
        "(() => { const f = document.getElementById('filter'); f.value = 'score>30 gamma<0.999';"
        " f.dispatchEvent(new Event('input')); })()"
    )
    assert all(float(text) > 30 for text in browser.evaluate(rows.format(2)))
    assert browser.complaints == []


def test_light_and_dark(shown) -> None:
    browser = shown(30)
    ground = "getComputedStyle(document.body).backgroundColor"
    before = browser.evaluate(ground)
    browser.press("#theme")
    browser.wait_for("document.documentElement.dataset.ready === 'true'")
    browser.wait_for(f"{ground} !== {before!r}")
    assert browser.complaints == []


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_nothing_is_wider_than_the_screen(shown, width) -> None:
    """But for the parallel coordinates on a phone: their axes keep their distance, and their frame scrolls."""
    browser = shown(30)
    browser.resize(width, 900)
    browser.wait_for(f"window.innerWidth === {width}")
    browser.wait_for(
        "[...document.querySelectorAll('.plot:not([data-figure=parallel]) .main-svg, .frame')]"
        f".every(s => s.getBoundingClientRect().right <= {width} + 1)"
    )
    frame = "document.querySelector('[data-figure=parallel]').parentElement"
    least = "parseInt(document.querySelector('[data-figure=parallel]').style.minWidth)"
    browser.wait_for(f"{frame}.scrollWidth <= Math.max({least}, {frame}.clientWidth)")
    assert browser.evaluate(f"getComputedStyle({frame}).overflowX") == "auto"
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture
def phone(browser, pages):
    """The report of forty trials on a phone."""
    browser.become_phone(360, 780)
    browser.open(pages(40).as_uri())
    browser.wait_for("innerWidth === 360 && document.documentElement.dataset.ready === 'true'")
    yield browser
    browser.become_desk()


@pytest.mark.parametrize("figure", ["learning-curves", "contour", "parallel"])
def test_a_finger_on_a_figure_scrolls_the_page(phone, figure) -> None:
    """Plotly takes a finger for the drag of a zoom, and a figure as wide as a phone could not be passed."""
    phone.swipe(f"[data-figure={figure}]", 0, -200)
    box = f"document.querySelector('[data-figure={figure}]').getBoundingClientRect()"
    phone.wait_for(f"({box}.top + {box}.bottom) / 2 < innerHeight / 2 - 100")
    assert phone.complaints == []


def test_a_finger_scrolls_what_is_wider_than_a_phone(phone) -> None:
    phone.swipe("[data-figure=parallel]", -150, 0)
    phone.wait_for("document.querySelector('[data-figure=parallel]').parentElement.scrollLeft > 60")


def test_no_name_of_a_parameter_runs_into_another_on_a_phone(shown) -> None:
    browser = shown(30)
    browser.resize(390, 900)
    names = "[...document.querySelectorAll('[data-figure=parallel] .annotation')].slice(0, -1)"
    browser.wait_for(f"{names}.length > 20 && window.innerWidth === 390")
    boxes = browser.evaluate(
        f"{names}.map(n => n.getBoundingClientRect()).map(b => [b.left, b.right, b.top, b.bottom])"
    )
    headings = [box for box in boxes if box[3] - box[2] > 20]
    assert len(headings) >= 8
    for index, a in enumerate(headings):
        for b in headings[:index]:
            assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]


def test_the_legend_hides_and_shows(shown) -> None:
    browser = shown(40)
    points = "document.querySelectorAll('[data-figure=history] .scatterlayer .point').length"
    before = browser.evaluate(points)
    entry = "[data-figure=history]"
    press = f"document.querySelector('{entry}').closest('figure').querySelector('.legend button').click()"
    browser.evaluate(press)
    browser.wait_for(f"{points} < {before}")
    browser.evaluate(press)
    browser.wait_for(f"{points} === {before}")
    assert browser.complaints == []


def test_figures_are_drawn_as_wide_as_paper(shown) -> None:
    browser = shown(40)
    wide = browser.evaluate("document.querySelector('[data-figure=learning-curves] .main-svg').clientWidth")
    browser.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate("document.documentElement.dataset.theme") == "light"
    assert browser.evaluate(
        "[...document.querySelectorAll('.plot')].every(p => p.scrollWidth <= p.parentElement.clientWidth)"
    )
    assert browser.evaluate("document.querySelector('main').clientWidth") == 680
    browser.evaluate("window.dispatchEvent(new Event('afterprint'))")
    browser.wait_for("document.documentElement.dataset.ready === 'true'")
    browser.wait_for(
        f"document.querySelector('[data-figure=learning-curves] .main-svg').clientWidth === {wide}"
    )


def test_it_prints(shown, tmp_path) -> None:
    browser = shown(40)
    browser.print_to(tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") <= 30
    assert browser.complaints == []


def test_a_comparison_opens_without_network(browser, study_maker, tmp_path) -> None:
    page = tmp_path / "compare.html"
    page.write_text(render_comparison([study_maker(20), replace(study_maker(30, seed=1), name="other")]))
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(page.as_uri())
    browser.wait_for("document.documentElement.dataset.ready === 'true'")
    assert browser.evaluate(DRAWN)
    assert network(browser) == []
    assert browser.complaints == []
