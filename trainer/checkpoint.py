"""Checkpoints: written whole or not at all, read without running any code in them."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainer.errors import CheckpointError, Place

if TYPE_CHECKING:
    from trainer.config import Config

FORMAT = "puffer-sweep checkpoint"
VERSION = 1
FOLDER_NAME = "checkpoints"
NUM_KEPT = 3
"""How many of the newest checkpoints of a run stay."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped.

    Attributes:
        config_text: the resolved config as INI text.
        agent, optimizer: their state dictionaries.
        epoch, agent_steps, uptime_seconds: the counters.
        random: generator name → its state.
        collector: where each row stands: the agent's states, and which rows begin an episode.
        vector: the environments' own state, None where they cannot give it (then a resume begins new
            episodes).
    """

    config_text: str
    agent: dict[str, Any]
    optimizer: dict[str, Any]
    epoch: int
    agent_steps: int
    uptime_seconds: float
    random: dict[str, torch.Tensor] = field(default_factory=dict)
    collector: dict[str, Any] = field(default_factory=dict)
    vector: dict[str, torch.Tensor] | None = None


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Where the checkpoint of an epoch lies in a run's folder."""
    return folder / FOLDER_NAME / f"epoch-{epoch:08d}.pt"


def list_checkpoints(folder: Path) -> list[Path]:
    """A run's checkpoints, oldest first."""
    return sorted((folder / FOLDER_NAME).glob("epoch-*.pt"))


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write a checkpoint into a run's folder and remove all but the newest few.

    The file appears under its name only when all of it is on the disk, so that a crash or a full disk leaves
    the checkpoints before it as they were.

    Raises:
        CheckpointError: it cannot be written.
    """
    path = checkpoint_path(folder, checkpoint.epoch)
    content = {"format": FORMAT, "version": VERSION, **_fields_of(checkpoint)}
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=".writing-", suffix=".pt", delete=False
        ) as file:
            temporary = Path(file.name)
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"The checkpoint cannot be written: {error}.",
            place=Place(file=str(path)),
            remedy="See that the disk has room and the folder may be written to.",
        ) from error
    # Names, not times: of a run that was resumed from an old checkpoint the newer ones are overwritten in
    # turn.
    for old in list_checkpoints(folder)[:-NUM_KEPT]:
        old.unlink(missing_ok=True)
    return path


def _fields_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The fields by name, without copying tensors."""
    return {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}


def _check_sums(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} does not match its checksum")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; tensors arrive on the CPU.

    Raises:
        CheckpointError: there is none, or it is truncated, damaged, foreign, or of a newer version.
    """
    place = Place(file=str(path))
    if not path.is_file():
        raise CheckpointError("There is no such checkpoint.", place=place)
    try:
        # torch.load would take a flipped bit for a weight; the archive's checksums do not.
        _check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as error:
        raise CheckpointError(
            "This is no whole checkpoint: it is truncated, damaged, or another program's file.",
            place=place,
            remedy="Take an older one from the same folder.",
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError("This file was not written by puffer-sweep.", place=place)
    if content.get("version") != VERSION:
        raise CheckpointError(
            "The checkpoint is of another version.",
            place=place,
            value=content.get("version"),
            rule=f"This version of puffer-sweep reads version {VERSION}.",
        )
    missing = [name for name in Checkpoint.__dataclass_fields__ if name not in content]
    if missing:
        raise CheckpointError(f"The checkpoint lacks {', '.join(missing)}.", place=place)
    return Checkpoint(**{name: content[name] for name in Checkpoint.__dataclass_fields__})


def config_of_checkpoint(path: Path) -> Config:
    """The resolved config that a checkpoint was written under.

    Raises:
        CheckpointError: see `load_checkpoint`.
    """
    from trainer.config import load_config_file

    text = load_checkpoint(path).config_text
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.ini"
        file.write_text(text, encoding="utf-8")
        return load_config_file(file, fill_in_default=False)


def fit_or_raise(module: torch.nn.Module, state: dict[str, Any], path: Path) -> None:
    """Load an agent's weights.

    Raises:
        CheckpointError: they belong to another policy or another environment.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            "The checkpoint's weights do not fit this policy and environment.",
            place=Place(file=str(path)),
            rule=" ".join(str(error).split()),
            remedy="Use the config that the checkpoint was written under.",
        ) from error
