"""Beginning episodes anew by a mask does what beginning them by their numbers does."""

from __future__ import annotations

import pytest
import torch

from trainer.envs.ocean.batch import EVERYBODY
from trainer.envs.ocean.recipe import ENVIRONMENTS, OceanRecipe

NUM_ENVS = 7


@pytest.mark.parametrize("by_numpy", [True, False])
@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_restart_by_mask_equals_start_by_number(name: str, by_numpy: bool) -> None:
    recipe = OceanRecipe(name, {})
    pair = [recipe.make_batch(NUM_ENVS, torch.device("cpu")) for _ in range(2)]
    for env in pair:
        env.draws.begin(5)
        env.draws.by_numpy = by_numpy
        env.start(EVERYBODY)
    generator = torch.Generator().manual_seed(1)
    layout = pair[0].action_layout
    rows = NUM_ENVS * pair[0].agents
    for _ in range(6):
        if layout.kind == "continuous":
            actions = torch.rand(rows, layout.width, generator=generator) * 2 - 1
        else:
            columns = [torch.randint(0, size, (rows,), generator=generator) for size in layout.sizes]
            actions = torch.stack(columns, 1)
        ended = torch.rand(NUM_ENVS, generator=generator) < 0.4
        for env in pair:
            env.advance(actions)
        pair[0].start(ended.nonzero().flatten())
        pair[1].restart(ended)
        first, second = (env.state_dict() for env in pair)
        for key, value in first.items():
            assert torch.equal(value, second[key]), key
        assert torch.equal(pair[0].observe(), pair[1].observe())


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_all_at_once_begin_as_by_their_numbers(name: str) -> None:
    pair = [OceanRecipe(name, {}).make_batch(NUM_ENVS, torch.device("cpu")) for _ in range(2)]
    pair[0].start(torch.arange(NUM_ENVS))
    pair[1].start(EVERYBODY)
    first, second = (env.state_dict() for env in pair)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
