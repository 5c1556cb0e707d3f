"""TF32 and the device's memory: what is set, put back and said."""

from __future__ import annotations

import pytest
import torch

from trainer.config import Config
from trainer.cuda.memory import buffer_bytes, device_memory_error, explain_shortage, limit_share
from trainer.device import _set_tf32
from trainer.policies import make_distribution
from trainer.ppo.buffer import RolloutBuffer
from trainer.vector.base import ActionLayout, ObservationLayout

MESSAGE = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.81 GiB"


def test_tf32_is_set_and_put_back() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        _set_tf32("high", True)
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
        _set_tf32("highest", False)
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
    finally:
        _set_tf32(*before)


def test_a_shortage_says_what_was_wanted_and_what_was_taken() -> None:
    sentence = explain_shortage(MESSAGE, 3 << 30, 140 << 30)
    assert sentence == (
        "The device has run out of memory: 2.50 GiB were asked for while this process held 3.00 GiB "
        "(the device has 140.0 GiB)."
    )
    assert explain_shortage("out of memory", None, None) == "The device has run out of memory."


@pytest.mark.parametrize("offload", [False, True])
def test_a_shortage_names_the_settings_that_help(offload: bool) -> None:
    settings = Config(train={"cpu_offload": offload, "minibatch_size": 4096}).train
    error = device_memory_error(torch.OutOfMemoryError(MESSAGE), settings, torch.device("cpu"))
    text = str(error)
    assert "train.max_minibatch_size below 4096" in text
    assert ("train.cpu_offload" in text) is not offload


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_of_the_device_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        limit_share(torch.device("cpu"), share)


def test_the_buffer_knows_its_size() -> None:
    layout, actions = ObservationLayout((3, 4), torch.uint8), ActionLayout("discrete", sizes=(2,))
    state = (torch.zeros(1, 5),)
    buffer = RolloutBuffer.allocate(7, 6, layout, make_distribution(actions), state, torch.device("cpu"))
    observations, rest = buffer_bytes(buffer)
    assert observations == 7 * 6 * 12
    # Actions of eight bytes, two scores, four floats, four flags and one state a segment.
    assert rest == 7 * 6 * (8 + 2 * 4 + 4 * 4 + 4) + 6 * 5 * 4


def test_the_launcher_and_the_trainer_speak_of_the_same_share(monkeypatch) -> None:
    from sweeper.launchers.worker_environment import SHARE_VARIABLE, worker_environment
    from trainer.cuda import memory

    assert SHARE_VARIABLE == memory.SHARE_VARIABLE
    alone = worker_environment(1, 0, "token")
    shared = worker_environment(1, 0, "token", trials_on_gpu=4)
    assert SHARE_VARIABLE not in alone
    assert 0.2 < float(shared[SHARE_VARIABLE]) < 0.25
    limited = []
    monkeypatch.setattr(memory, "limit_share", lambda device, share: limited.append(share))
    monkeypatch.setenv(SHARE_VARIABLE, shared[SHARE_VARIABLE])
    memory.respect_share(torch.device("cpu"))
    memory.respect_share(torch.device("cuda", 0))
    assert limited == [float(shared[SHARE_VARIABLE])]
