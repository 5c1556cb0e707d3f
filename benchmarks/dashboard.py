"""How long a large study takes to look at: optuna-dashboard's pages in headless Chromium.

    python -m benchmarks.dashboard --trials 2000 --json benchmarks/results/dashboard.json

A study of so many trials with 50 reports each, notes and artifacts, is made in a temporary folder and served as
`puffer-sweep dashboard` serves it. Each page is timed from the request until its words are there and nothing is under
way, and must load without an error in the console.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.request import urlopen
from wsgiref.simple_server import make_server as wsgi_server

import numpy as np
from optuna_dashboard import wsgi

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "planted"))

from planted_browser import Browser

from sweeper.annotate import annotate_study
from sweeper.clock import VirtualClock
from sweeper.dashboard import make_server
from sweeper.provenance import code_folder, git_commit
from sweeper.records import CurvePoint, TrialState
from sweeper.report.from_store import view_of
from sweeper.report.page import render_page
from sweeper.setup import study_spec
from sweeper.space import SearchSpace
from sweeper.store import Store, StoredStudy, open_store
from sweeper.store.ledger import Ledger
from trainer.config import load_config

WORDS = "document.body?.innerText.includes('{}')"
DRAWN = "document.querySelectorAll('.main-svg').length >= {}"
PAGES = {
    "studies": ("/dashboard", WORDS.format("large")),
    "history": ("/dashboard/studies/{id}", DRAWN.format(4)),
    "analytics": ("/dashboard/studies/{id}/analytics", DRAWN.format(4)),
    "trials": ("/dashboard/studies/{id}/trials", WORDS.format("Trial 0")),
    "one trial": ("/dashboard/studies/{id}/trials?numbers=7", WORDS.format("config.ini")),
    "smart selection": ("/dashboard/studies/{id}/smartSelection", DRAWN.format(1)),
    "note": ("/dashboard/studies/{id}/note", WORDS.format("is the best")),
}
"""Address of each page, and what is true once there is something to look at."""

REPORTS = 50


def fill(folder: Path, num_trials: int) -> tuple[Store, StoredStudy]:
    """A study as a sweep leaves it, without training."""
    config = load_config("CartPole-v1")
    space = SearchSpace.from_config(config)
    store = open_store(folder / "studies.db")
    study = store.create(study_spec(config, space, "large", folder))
    clock = VirtualClock()
    ledger = Ledger(study, clock)
    rng = np.random.default_rng(0)
    for number in range(num_trials):
        values = {p.name: p.from_unit(float(rng.random())) for p in space.parameters}
        trial = ledger.add(
            values,
            distributions=space.distributions(),
            describe=lambda n: {"started_at": clock.now(), "seed": n},
            total_agent_steps=200_000,
        )
        score, state = float(rng.gamma(4, 50)), TrialState.COMPLETE
        last = REPORTS if number % 3 else REPORTS // 3
        for step in range(1, last + 1):
            ledger.report(trial.uuid, CurvePoint(step * 4000, step * 0.2, score * step / REPORTS, {}))
        if last < REPORTS:
            state = TrialState.PAUSED if number % 2 else TrialState.PRUNED
        path = study.trial_folder(number)
        path.mkdir(parents=True)
        for name in ("config.ini", "log.txt"):
            (path / name).write_text("[train]\n")
        clock.advance(3)
        attributes = {"finished_at": clock.now(), "steps_per_second": 20_000.0, "device": "cpu"}
        ledger.change(trial.uuid, state, attributes=attributes, score=score)
    ledger.close()
    return store, study


def time_pages(
    address: str, study_id: int, folder: Path, pictures: Path | None
) -> dict[str, dict[str, object]]:
    """Seconds until each page is there, and what its console complained of."""
    found: dict[str, dict[str, object]] = {}
    with Browser(folder / "profile", width=1400, height=1000) as browser:
        for name, (path, condition) in PAGES.items():
            browser.complaints.clear()
            began = time.perf_counter()
            browser.open(address + path.format(id=study_id))
            browser.wait_for(condition)
            seconds = time.perf_counter() - began
            found[name] = {"seconds": round(seconds, 2), "complaints": list(browser.complaints)}
            print(f"{name:12} {seconds:6.2f} s  {browser.complaints}", flush=True)
            if pictures is not None:
                browser.evaluate("new Promise(done => setTimeout(done, 1500))")
                browser.screenshot(pictures / f"{name.replace(' ', '-')}.png")
                found[name]["complaints"] = list(browser.complaints)
    return found


def time_answers(study: StoredStudy, address: str) -> dict[str, float]:
    """Seconds that the server takes for the answer behind every page: here, and by optuna-dashboard alone."""
    alone = wsgi_server("127.0.0.1", 0, wsgi(study.storage))
    threading.Thread(target=alone.serve_forever, daemon=True).start()
    found = {}
    servers = {"puffer-sweep dashboard": address, "optuna-dashboard": f"http://127.0.0.1:{alone.server_port}"}
    for name, server in servers.items():
        began = time.perf_counter()
        with urlopen(f"{server}/api/studies/{study.study_id}") as answer:
            num_bytes = len(answer.read())
        found[name] = round(time.perf_counter() - began, 2)
        print(f"{name:24} answers in {found[name]:6.2f} s with {num_bytes / 1e6:.1f} MB", flush=True)
    alone.shutdown()
    alone.server_close()
    return found


def main() -> None:
    """Make, serve, look, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--pictures", type=Path, help="write a screenshot of each page there")
    arguments = parser.parse_args()
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="puffer-sweep-") as name:
        folder = Path(name)
        store, study = fill(folder, arguments.trials)
        began = time.perf_counter()
        view = view_of(study)
        page = render_page(view, folder=folder)
        report_seconds = time.perf_counter() - began
        began = time.perf_counter()
        annotate_study(study, view)
        notes_seconds = time.perf_counter() - began
        print(
            f"report {report_seconds:.1f} s, {len(page.encode()) / 1e6:.2f} MB; notes {notes_seconds:.1f} s"
        )
        server = make_server(study.storage, artifacts_folder=folder)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        answers = time_answers(study, address)
        pages = time_pages(address, study.study_id, folder, arguments.pictures)
        server.shutdown()
        store.close()
    result = {
        "benchmark": "dashboard",
        "commit": git_commit(code_folder()),
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "trials": arguments.trials,
        "reports_per_trial": REPORTS,
        "report": {"seconds": round(report_seconds, 1), "megabytes": round(len(page.encode()) / 1e6, 2)},
        "notes_seconds": round(notes_seconds, 1),
        "answer_seconds": answers,
        "pages": pages,
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
