"""The environment that outlives a trial, and the one that is begun for the next."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeper import kept_environment
from sweeper.kept_environment import KeptEnvironment
from sweeper.seeds import trial_seed
from trainer.config import Config


@dataclasses.dataclass
class Slow:
    """Counts how it is begun."""

    backend: str = "PufferEnv"
    seeds: list[int] = dataclasses.field(default_factory=list)
    closed: bool = False

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def made(monkeypatch) -> list[Slow]:
    monkeypatch.setattr(kept_environment, "WORTHWHILE_SECONDS", -1.0)
    return []


@pytest.fixture
def kept(made) -> KeptEnvironment:
    def make(config, device, *, num_threads):
        made.append(Slow())
        return made[-1]

    return KeptEnvironment(make)


def assignment(number: int, num_envs: int = 4, resume_from: Path | None = None, num_slots: int = 1):
    config = Config().override({"vec.num_envs": num_envs})
    seed = trial_seed(config.sweep.seed, number)
    return SimpleNamespace(
        number=number,
        config=config.override({"vec.seed": seed, "train.seed": seed}),
        num_threads=1,
        resume_from=resume_from,
        num_slots=num_slots,
    )


def run(kept: KeptEnvironment, one) -> Slow:
    vector = kept.take(one)
    kept.foresee(one)
    return vector


def test_the_next_trial_finds_its_environment_begun(kept, made) -> None:
    for number in range(4):
        one = assignment(number)
        vector = run(kept, one)
        assert vector.seeds[-1] == one.config.vec.seed
    kept.close()
    assert len(made) == 2
    # The first was begun for its trial; every other one ahead, and nobody began it again.
    assert [len(vector.seeds) for vector in made] == [3, 2]
    assert all(vector.closed for vector in made)


def test_numbers_lie_as_far_apart_as_there_are_workers(kept, made) -> None:
    for number in (0, 3, 6, 9):
        assert run(kept, assignment(number)).seeds[-1] == trial_seed(Config().sweep.seed, number)
    begun = sum(len(vector.seeds) for vector in made)
    kept.close()
    # One guess (number 1) was wrong.
    assert begun <= 6


def test_the_first_guess_knows_how_many_run_side_by_side(kept, made) -> None:
    for number in (0, 3, 6):
        run(kept, assignment(number, num_slots=3))
    kept.close()
    # Three trials and the one that did not come: each was begun once.
    assert sum(len(vector.seeds) for vector in made) == 4


def test_another_environment_and_a_checkpoint(kept, made) -> None:
    run(kept, assignment(0))
    other = run(kept, assignment(1, num_envs=8))
    assert other is made[2]
    assert made[0].closed
    assert made[1].closed
    begun = len(other.seeds)
    resumed = kept.take(assignment(5, num_envs=8, resume_from=Path("checkpoint")))
    assert len(resumed.seeds) == begun
    kept.close()


def test_what_begins_quickly_is_not_begun_ahead(kept, made, monkeypatch) -> None:
    monkeypatch.setattr(kept_environment, "WORTHWHILE_SECONDS", 1e9)
    for number in range(3):
        run(kept, assignment(number))
    kept.close()
    assert len(made) == 1


def test_a_spare_that_fails_is_forgotten(kept, made, monkeypatch, capfd) -> None:
    run(kept, assignment(0))
    kept._wait()

    def fail(seed: int) -> None:
        raise RuntimeError("planted")

    kept._spare.reset = fail
    kept._spare_seed = None
    run(kept, assignment(1))
    kept._wait()
    assert "planted" in capfd.readouterr().err
    assert run(kept, assignment(2)).seeds[-1] == assignment(2).config.vec.seed
    kept.close()
