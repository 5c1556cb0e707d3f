"""`train.compile`: the same learning, one compilation for all trials, and a sentence where there is no compiler.

The quick tests compile by a backend that only counts graphs; the slow ones by torch's own, with a C++ compiler.
"""

from __future__ import annotations

import functools
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from torch._dynamo.utils import counters

from trainer import acceleration, train
from trainer.checkpoint import load_checkpoint
from trainer.errors import InfeasibleConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_HYPERPARAMETERS = {
    "train.gamma": 0.9,
    "train.gae_lambda": 0.5,
    "train.learning_rate": 0.003,
    "train.min_lr_ratio": 0.5,
    "train.anneal_lr": False,
    "train.clip_coef": 0.3,
    "train.vf_coef": 0.7,
    "train.vf_clip_coef": 0.4,
    "train.ent_coef": 0.02,
    "train.max_grad_norm": 0.1,
    "train.prio_alpha": 0.3,
    "train.prio_beta0": 0.9,
    "train.vtrace_rho_clip": 2.0,
    "train.vtrace_c_clip": 0.5,
    "train.adam_beta1": 0.8,
    "train.adam_beta2": 0.9,
    "train.adam_eps": 1e-3,
    "train.update_epochs": 2,
    "train.total_timesteps": 128,
    "train.seed": 5,
}
MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


def forget() -> None:
    acceleration._compiled.cache_clear()
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def _nothing_compiled_is_left() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def graphs(monkeypatch) -> list[int]:
    """Compile by a backend that only counts graphs."""
    made: list[int] = []

    def backend(graph, _):
        made.append(1)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(compile_with, torch.compile, backend))
    return made


def compile_with(real, backend, function, *, mode, **rest):
    return real(function, backend=backend, **rest)


def agree(a, b, **tolerance) -> None:
    expected, got = (load_checkpoint(result.checkpoint).agent for result in (a, b))
    assert expected.keys() == got.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], **tolerance)


@pytest.mark.parametrize("rnn", [None, "LSTMWrapper"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_trials_with_other_hyperparameters_share_one_compilation(
    corridor_config, make_corridor, tmp_path, graphs, rnn, precision
) -> None:
    config = corridor_config.override(
        {
            "train.compile": True,
            "train.total_timesteps": 64,
            "train.precision": precision,
            "base.rnn_name": rnn,
        }
    )
    plain = train(
        config.override({"train.compile": False}), folder=tmp_path / "plain", vector=make_corridor()
    )
    first = train(config, folder=tmp_path / "first", vector=make_corridor())
    agree(plain, first)
    count = len(graphs)
    assert count > 0
    train(config.override(OTHER_HYPERPARAMETERS), vector=make_corridor())
    assert len(graphs) == count


def test_a_sweep_over_widths_compiles_once_for_each(corridor_config, make_corridor, graphs) -> None:
    """More of them than torch.compile puts up with by itself."""
    config = corridor_config.override({"train.compile": True, "train.total_timesteps": 32})
    widths = range(4, 4 + 9)
    for width in widths:
        train(config.override({"policy.hidden_size": width}), vector=make_corridor())
    count = len(graphs)
    assert count >= 2 * len(widths)
    for width in widths:
        train(config.override({"policy.hidden_size": width, "train.gamma": 0.5}), vector=make_corridor())
    assert len(graphs) == count
    assert torch._dynamo.config.recompile_limit < len(widths)  # and it is what it was


def test_what_cannot_be_compiled_is_said(corridor_config, make_corridor, monkeypatch) -> None:
    def backend(graph, _):
        raise RuntimeError("there is no compiler")

    monkeypatch.setattr(torch, "compile", functools.partial(compile_with, torch.compile, backend))
    config = corridor_config.override({"train.compile": True})
    with pytest.raises(InfeasibleConfigError, match="cannot be compiled"):
        train(config, vector=make_corridor())


class Breaking(torch.nn.Module):
    """A policy of somebody's own that torch.compile cannot follow in one piece."""

    def __init__(self, observation_layout, action_layout) -> None:
        from trainer.policies import Head

        super().__init__()
        self.hidden_size = 4
        self.layer = torch.nn.Linear(2, 4)
        self.decode_actions = Head(4, action_layout)

    def encode_observations(self, observations):
        hidden = self.layer(observations)
        torch._dynamo.graph_break()
        return hidden.tanh()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own doing
@pytest.mark.parametrize("fullgraph", [False, True])
def test_a_broken_graph_is_put_up_with_only_without_fullgraph(
    corridor_config, make_corridor, graphs, monkeypatch, fullgraph
) -> None:
    from trainer.policies import registry

    monkeypatch.setitem(registry.POLICIES, "Breaking", Breaking)
    config = corridor_config.override(
        {
            "base.policy_name": "Breaking",
            "train.compile": True,
            "train.compile_fullgraph": fullgraph,
            "train.total_timesteps": 32,
        }
    ).model_copy(update={"policy": {}})
    if fullgraph:
        with pytest.raises(InfeasibleConfigError, match="compile_fullgraph"):
            train(config, vector=make_corridor())
    else:
        train(config, vector=make_corridor())
        assert len(graphs) > 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None and shutil.which("c++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fullgraph", [True, False])
def test_every_mode_learns_as_the_plain_way_does(
    corridor_config, make_corridor, tmp_path, mode, fullgraph
) -> None:
    config = corridor_config.override(
        {
            "train.compile": True,
            "train.compile_mode": mode,
            "train.compile_fullgraph": fullgraph,
            "train.total_timesteps": 64,
        }
    )
    plain = train(
        config.override({"train.compile": False}), folder=tmp_path / "plain", vector=make_corridor()
    )
    compiled = train(config, folder=tmp_path / "compiled", vector=make_corridor())
    agree(plain, compiled, rtol=1e-4, atol=1e-5)
    before = counters["stats"]["unique_graphs"]
    assert before >= 2
    with torch._dynamo.config.patch(error_on_recompile=True):
        train(config.override(OTHER_HYPERPARAMETERS), vector=make_corridor())
    assert counters["stats"]["unique_graphs"] == before
