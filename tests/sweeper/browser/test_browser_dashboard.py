"""optuna-dashboard on a study of ours, every page of it in a real browser."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from planted_browser import PATIENCE_SECONDS, Browser, find_browser

from sweeper.annotate import annotate_study
from sweeper.dashboard import make_server
from sweeper.report.from_store import view_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]

PAGES = {
    "/dashboard": "mine",
    "/dashboard/studies/{id}": "Hyperparameter Importance",
    "/dashboard/studies/{id}/analytics": "Slice",
    "/dashboard/studies/{id}/trials": "Trial 0",
    "/dashboard/studies/{id}/trials?numbers=3": "The policy loss is NaN",
    "/dashboard/studies/{id}/smartSelection": "mine",
    "/dashboard/studies/{id}/note": "Trial 1 is the best",
    "/dashboard/compare-studies?ids={id}": "mine",
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def served(filled):
    for number in range(3):
        folder = filled.study.trial_folder(number)
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "epoch-00000001.pt").write_bytes(b"weights")
        (folder / "config.ini").write_text("[train]\ngamma = 0.98\n")
        (folder / "log.txt").write_text("epoch 1\n")
    annotate_study(filled.study, view_of(filled.study))
    server = make_server(filled.study.storage, artifacts_folder=filled.folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", filled.study.study_id
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_page_loads_without_an_error(browser, served) -> None:
    address, study_id = served
    for page, words in PAGES.items():
        browser.complaints.clear()
        browser.requests.clear()
        browser.open(address + page.format(id=study_id))
        browser.wait_for(f"document.body?.innerText.includes({words!r})")
        browser.wait_for("document.readyState === 'complete'")
        assert browser.complaints == [], page
        assert {request.split("/")[2] for request in browser.requests if request.startswith("http")} == {
            address.removeprefix("http://")
        }


def test_our_figures_and_artifacts_are_there(browser, served) -> None:
    address, study_id = served
    browser.open(f"{address}/dashboard/studies/{study_id}")
    browser.wait_for(
        "document.querySelector('#plotly-puffer-sweep-pareto, [id*=puffer-sweep-pareto]') !== null"
    )
    browser.open(f"{address}/dashboard/studies/{study_id}/trials?numbers=1")
    for name in ("config.ini", "log.txt", "checkpoint.pt"):
        browser.wait_for(f"document.body?.innerText.includes({name!r})")


def test_the_mark_under_a_note_is_not_seen(browser, served) -> None:
    address, study_id = served
    for page, words in {"note": "Trial 1 is the best", "trials?numbers=3": "The policy loss is NaN"}.items():
        browser.open(f"{address}/dashboard/studies/{study_id}/{page}")
        browser.wait_for(f"document.body?.innerText.includes({words!r})")
        assert not any(mark in browser.text() for mark in ("[//]", "<!--", "(puffer-sweep"))


@pytest.fixture
def plainly_served(filled):
    """The same study by `optuna-dashboard` itself, as anybody starts it."""
    annotate_study(filled.study, view_of(filled.study))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "optuna-dashboard"), f"sqlite:///{filled.storage}"]
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}", filled.study.study_id
    process.terminate()
    process.wait()


def test_optuna_dashboard_alone_shows_it_too(browser, plainly_served) -> None:
    address, study_id = plainly_served
    browser.open("about:blank")  # the page before still asks a server that has ended
    for page in ("/dashboard/studies/{id}", "/dashboard/studies/{id}/trials?numbers=3"):
        browser.complaints.clear()
        browser.open(address + page.format(id=study_id))
        browser.wait_for(f"document.body?.innerText.includes({PAGES[page]!r})")
        assert browser.complaints == [], page
