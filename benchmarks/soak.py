"""A sweep in a rain of kill -9: what is left must be whole.

Usage: python benchmarks/soak.py [--folder DIR] [--seed N] [--worker-kills 200] [--sweep-kills 50] [-o FILE.json]
       python benchmarks/soak.py --table FILE.json

Runs `puffer-sweep start` on short trials (of an Ocean environment, unless --start says otherwise) and kills, at random
moments, workers, processes that step environments, and the sweep itself, which the same command then continues.
Whenever the budget is used up before all kills are done, `puffer-sweep extend` enlarges it. At the end every
configuration must be there exactly once, each stored curve strictly increasing with each epoch once, nothing RUNNING,
no process and no shared memory left, and some trials, those that were continued most often, must come out again bit
for bit when their INI is trained once more. Exits with 1 if anything of that does not hold.

With --folder a soak that was interrupted goes on where it was. --table prints a file for the README.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from sweeper.folder import read_curve_file
from sweeper.launchers.process_tree import bearers
from sweeper.provenance import code_folder, git_commit, machine_facts, versions
from sweeper.records import TrialState
from sweeper.setup import process_token
from sweeper.store import open_store

if TYPE_CHECKING:
    from sweeper.records import Trial
    from sweeper.store import StoredStudy

ROOT = Path(__file__).parents[1]
STUDY = "soak"
RUNS_AT_ONCE = 40
NUM_WORKERS = 2
BATCH_SIZE = 1024
SETTINGS = (
    *("--train.total-timesteps", "40960", "--train.checkpoint-interval", "4"),
    *("--train.device", "cpu", "--train.batch-size", str(BATCH_SIZE)),
    *("--sweep.method", "random", "--sweep.workers", str(NUM_WORKERS), "--sweep.max-runs", str(RUNS_AT_ONCE)),
    *("--sweep.retries", "100000", "--sweep.max-consecutive-failures", "100000"),
)


@dataclass(slots=True)
class Record:
    """What has happened so far; kept in the folder, so that a soak can be interrupted itself.

    Attributes:
        kills: by kind of victim.
        starts, extensions: of the sweep.
        longest_goodbye_seconds: until the last process of a killed sweep was gone.
        seconds: of the soak, over all sittings.
    """

    seed: int
    kills: dict[str, int] = field(default_factory=lambda: {"worker": 0, "environment": 0, "sweep": 0})
    starts: int = 0
    extensions: int = 0
    longest_goodbye_seconds: float = 0.0
    seconds: float = 0.0


class Soak:
    """One sweep, and what is done to it."""

    def __init__(self, folder: Path, wanted: dict[str, int], seed: int, start: tuple[str, ...]) -> None:
        self.folder = folder
        self.start_words = start
        self.storage = folder / "studies.db"
        self.token = process_token(self.storage, STUDY)
        self.wanted = wanted
        self.process: subprocess.Popen[bytes] | None = None
        self._notes = folder / "soak.json"
        self.record = Record(seed)
        if self._notes.exists():
            self.record = Record(**json.loads(self._notes.read_text(encoding="utf-8")))
        self.draw = random.Random(f"{self.record.seed}:{sum(self.record.kills.values())}")

    def study(self) -> StoredStudy:
        return open_store(self.storage, must_exist=True).open(STUDY)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sweeper.cli", *words, "--storage", str(self.storage)]

    def start(self) -> subprocess.Popen[bytes]:
        """Start or continue the sweep, in a session of its own as a terminal would."""
        words = self.command("start", *self.start_words, "--study", STUDY, "--plain", *SETTINGS)
        with (self.folder / "sweep.log").open("ab") as log:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.record.starts += 1
        return self.process

    def rain(self) -> None:
        """Kill until all kills are done."""
        began = time.monotonic()
        before = self.record.seconds
        process = self.start()
        while victims := [
            kind for kind, count in self.wanted.items() for _ in range(count - self.record.kills[kind])
        ]:
            kind = self.draw.choice(victims)
            time.sleep(self.draw.uniform(0.2, 3.0))
            if process.poll() is not None:
                process = self._go_on(process.returncode)
                continue
            if self._strike(kind, process):
                self.record.kills[kind] += 1
                self.record.seconds = before + time.monotonic() - began
                self._notes.write_text(json.dumps(asdict(self.record)), encoding="utf-8")
                print(json.dumps(self.record.kills), flush=True)
            if process.poll() is not None:
                self._see_off()
                process = self.start()
        code = process.wait()
        if code != 0:
            raise SystemExit(f"the sweep has ended with {code}; see {self.folder / 'sweep.log'}")
        self.record.seconds = before + time.monotonic() - began

    def _go_on(self, code: int) -> subprocess.Popen[bytes]:
        """The budget is used up and there are kills left: more runs."""
        if code != 0:
            raise SystemExit(f"the sweep has ended with {code}; see {self.folder / 'sweep.log'}")
        subprocess.run(self.command("extend", STUDY, "--runs", str(RUNS_AT_ONCE)), check=True)
        self.record.extensions += 1
        return self.start()

    def _strike(self, kind: str, process: subprocess.Popen[bytes]) -> bool:
        """Kill one of a kind; False if there is none at the moment."""
        # Not before the study is open: a kill while Python starts proves nothing.
        if not self._runs_trials():
            return False
        if kind == "sweep":
            process.kill()
            process.wait()
            return True
        trial_workers = [pid for pid in bearers(self.token) if _is_trial_worker(pid)]
        others = [pid for worker in trial_workers for pid in _children(worker)]
        chosen = trial_workers if kind == "worker" else others
        if not chosen:
            return False
        try:
            os.kill(self.draw.choice(sorted(chosen)), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _runs_trials(self) -> bool:
        if not self.storage.exists():
            return False
        try:
            lock = self.study().lock_info()
        except Exception as error:  # noqa: BLE001 - the study is being made this moment
            print(f"not yet: {error}", flush=True)
            return False
        return lock is not None and self.process is not None and lock.pid == self.process.pid

    def _see_off(self, patience_seconds: float = 60.0) -> None:
        """Everything that belonged to a killed sweep goes, by itself."""
        began = time.monotonic()
        while left := bearers(self.token):
            if time.monotonic() - began > patience_seconds:
                raise SystemExit(
                    f"processes have outlived their sweep: {[_command_line(pid) for pid in left]}"
                )
            time.sleep(0.02)
        self.record.longest_goodbye_seconds = max(
            self.record.longest_goodbye_seconds, time.monotonic() - began
        )

    def close(self) -> None:
        """Leave nobody behind, however the soak ends."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self._see_off()


def judge(soak: Soak, segments_before: set[str], num_replays: int) -> dict[str, object]:
    """What must hold of the study; `violations` says what does not."""
    study = soak.study()
    trials = study.trials()
    counts = Counter(trial.state for trial in trials)
    violations: list[str] = []

    def expect(holds: bool, text: str) -> None:  # noqa: FBT001 - an assertion by another name
        if not holds:
            violations.append(text)

    values = Counter(tuple(sorted(trial.values.items())) for trial in trials)
    expect([trial.number for trial in trials] == list(range(len(trials))), "trial numbers have gaps")
    expect(max(values.values()) == 1, "a configuration is there more than once")
    expect(
        len(trials) - counts[TrialState.INFEASIBLE] == study.max_runs, "not as many runs as were asked for"
    )
    expect(
        set(counts) <= {TrialState.COMPLETE, TrialState.PAUSED, TrialState.INFEASIBLE}, f"states: {counts}"
    )
    expect(study.lock_info() is None, "the lock is still held")
    num_points = 0
    for trial in trials:
        curve = study.curve(trial.uuid)
        steps = [point.agent_steps for point in curve]
        num_points += len(steps)
        whole = [BATCH_SIZE * epoch for epoch in range(1, trial.agent_steps // BATCH_SIZE + 1)]
        expect(steps == whole, f"trial {trial.number}: epochs are missing or there twice")
        if trial.state is TrialState.COMPLETE:
            expect(trial.agent_steps >= trial.total_agent_steps, f"trial {trial.number} is not complete")
    for trial, mirror in zip(trials, study.optuna_study.trials, strict=True):
        expect(mirror.params == dict(trial.values), f"trial {trial.number}: Optuna has other values")
        told = {point.agent_steps: point.score for point in trial.curve}
        expect(
            mirror.intermediate_values == told, f"trial {trial.number}: Optuna has other values on the way"
        )
    left = bearers(soak.token)
    expect(not left, f"processes are left: {[_command_line(pid) for pid in left]}")
    segments = _segments() - segments_before
    expect(not segments, f"shared memory is left: {sorted(segments)}")
    replays = [_replay(study, trial, soak.folder) for trial in _to_replay(trials, num_replays)]
    for replay in replays:
        expect(replay["identical"] is True, f"trial {replay['trial']} does not come out again")
    return {
        "trials": len(trials),
        "states": {state.value: count for state, count in counts.items()},
        "times_continued": sum(len(_restarts(trial)) for trial in trials),
        "attempts": sum(int(str(trial.attributes.get("attempts", 1))) for trial in trials),
        "curve_points": num_points,
        "running": counts[TrialState.RUNNING],
        "duplicates": sum(count - 1 for count in values.values()),
        "orphans": len(left),
        "shared_memory_segments": len(segments),
        "replays": replays,
        "violations": violations,
    }


def _to_replay(trials: list[Trial], count: int) -> list[Trial]:
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: -len(_restarts(trial)))[:count]


def _replay(study: StoredStudy, trial: Trial, folder: Path) -> dict[str, object]:
    """Train a trial's INI again and compare the curves, floating-point number by number."""
    target = folder / f"replay-{trial.number:04d}"
    config = study.trial_folder(trial.number) / "config.ini"
    words = [sys.executable, "-m", "sweeper.cli", "train", str(config), "-o", str(target), "--plain"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    stored = [(point.agent_steps, point.score) for point in study.curve(trial.uuid)]
    again = [(point.agent_steps, point.score) for point in read_curve_file(target)]
    return {"trial": trial.number, "restarts": len(_restarts(trial)), "identical": stored == again}


def _restarts(trial: Trial) -> list[object]:
    epochs = trial.attributes.get("restarts", [])
    return list(epochs) if isinstance(epochs, list) else []


def _is_trial_worker(pid: int) -> bool:
    return "sweeper.launchers.worker" in _command_line(pid)


def _children(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _command_line(pid: int) -> list[str]:
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def _segments() -> set[str]:
    place = Path("/dev/shm")
    return {entry.name for entry in place.iterdir()} if place.is_dir() else set()


def table(result: dict[str, Any]) -> str:
    """A file's figures for the README."""
    kills, states, replays = result["kills"], result["states"], result["replays"]
    killed = ", ".join(f"{count} of {kind}" for kind, count in kills.items() if count)
    ended = ", ".join(f"{count} {state}" for state, count in states.items())
    same = sum(replay["identical"] for replay in replays)
    rows = {
        "start, seed, commit": f"`{result['start']}`, {result['seed']}, {str(result['commit'])[:7]}",
        "kills": killed,
        "starts of the sweep; extensions": f"{result['starts']}; {result['extensions']}",
        "minutes; load of the machine at the end": f"{result['seconds'] / 60:.0f}; {result['load_average']:.0f}",
        "configurations, each there once": f"{result['trials']} ({ended})",
        "attempts; times continued from a checkpoint": f"{result['attempts']}; {result['times_continued']}",
        "points of curves, each epoch once": str(result["curve_points"]),
        "RUNNING; duplicates; orphans; segments of shared memory": "; ".join(
            str(result[key]) for key in ("running", "duplicates", "orphans", "shared_memory_segments")
        ),
        "until a killed sweep's last process was gone": f"{result['longest_goodbye_seconds']:.1f} s at most",
        "trials trained again, the same bit for bit": f"{same} of {len(replays)}",
        "violations": str(len(result["violations"])),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument(
        "--start",
        default=str(ROOT / "config" / "ocean" / "squared.ini"),
        metavar="WORDS",
        help="what `puffer-sweep start` is given: a config and settings, in one string",
    )
    parser.add_argument("--worker-kills", type=int, default=200)
    parser.add_argument("--environment-kills", type=int, default=0)
    parser.add_argument("--sweep-kills", type=int, default=50)
    parser.add_argument("--replays", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--table", type=Path, metavar="FILE")
    asked = parser.parse_args()
    if asked.table is not None:
        print(table(json.loads(asked.table.read_text(encoding="utf-8"))))
        return
    wanted = {
        "worker": asked.worker_kills,
        "environment": asked.environment_kills,
        "sweep": asked.sweep_kills,
    }
    with contextlib.ExitStack() as stack:
        if asked.folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        else:
            folder = asked.folder.resolve()
            folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(folder, wanted, asked.seed, tuple(shlex.split(asked.start)))
        stack.callback(soak.close)
        segments = _segments()
        soak.rain()
        result = {
            "machine": machine_facts(),
            "python": platform.python_version(),
            "versions": versions(),
            "commit": git_commit(code_folder()),
            "start": asked.start.replace(f"{ROOT}{os.sep}", ""),
            "load_average": os.getloadavg()[0],
            **asdict(soak.record),
            **judge(soak, segments, asked.replays),
        }
    text = json.dumps(result, indent=2)
    print(text)
    if asked.output is not None:
        asked.output.write_text(text + "\n", encoding="utf-8")
    if result["violations"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
