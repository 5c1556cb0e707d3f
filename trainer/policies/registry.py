"""From `[base] policy_name`, `rnn_name`, `[policy]` and `[rnn]` to an agent."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from trainer.errors import ConfigError, Place, UnknownNameError
from trainer.policies.base import Agent, FeedForward
from trainer.policies.convolutional import Convolutional
from trainer.policies.default import Policy
from trainer.policies.lstm import LSTMWrapper
from trainer.policies.procgen_resnet import ProcgenResnet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.config import Config
    from trainer.vector.base import ActionLayout, ObservationLayout

POLICIES: dict[str, type[nn.Module]] = {
    "Policy": Policy,
    "Convolutional": Convolutional,
    "ProcgenResnet": ProcgenResnet,
}
WRAPPERS: dict[str, type[Agent]] = {"LSTMWrapper": LSTMWrapper, "Recurrent": LSTMWrapper}


def make_policy(config: Config, observation_layout: ObservationLayout, action_layout: ActionLayout) -> Agent:
    """The agent that a config asks for, freshly initialised from torch's global generator.

    A name with a colon (`my_module:MyPolicy`) is imported; it must be an `nn.Module` with the methods that
    `trainer.policies.base` describes.

    Raises:
        UnknownNameError: no such policy or wrapper.
        ConfigError: a module that cannot be imported, a setting that the constructor does not take.
    """
    body_class = _find(config.base.policy_name, POLICIES, "policy_name")
    body = _construct(body_class, (observation_layout, action_layout), config.policy, "policy")
    missing = [
        name for name in ("hidden_size", "encode_observations", "decode_actions") if not hasattr(body, name)
    ]
    if missing or not isinstance(body, nn.Module):
        raise ConfigError(
            f"{config.base.policy_name} is no policy: it lacks {', '.join(missing) or 'its base nn.Module'}.",
            place=Place(section="base", key="policy_name"),
            rule="A policy is an nn.Module with hidden_size, encode_observations and decode_actions.",
        )
    if config.base.rnn_name is None:
        return FeedForward(body)
    wrapper_class = _find(config.base.rnn_name, WRAPPERS, "rnn_name")
    wrapper = _construct(wrapper_class, (body,), config.rnn, "rnn")
    if not isinstance(wrapper, Agent):
        raise ConfigError(
            f"{config.base.rnn_name} is no agent.",
            place=Place(section="base", key="rnn_name"),
            rule="It must be a subclass of trainer.policies.Agent.",
        )
    return wrapper


def _find(name: str, known: Mapping[str, type[Any]], key: str) -> Callable[..., Any]:
    if name in known:
        return known[name]
    place = Place(section="base", key=key)
    if ":" not in name:
        nearest = difflib.get_close_matches(name, known, n=1)
        raise UnknownNameError(
            f"There is no {key.removesuffix('_name')} called {name}.",
            place=place,
            rule=f"Known are {', '.join(known)}; one of your own is written my_module:MyPolicy.",
            remedy=f"Did you mean {nearest[0]}?" if nearest else None,
        )
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        # A console script does not look where it is called, which is where people keep their module.
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"The module {module_name} cannot be imported: {type(error).__name__}: {error}.",
            place=place,
            value=name,
            remedy="Run from the folder that holds it, or put that folder on PYTHONPATH.",
        ) from error
    found: Callable[..., Any] | None = getattr(module, attribute, None)
    if not callable(found):
        raise ConfigError(f"The module {module_name} has no class {attribute}.", place=place, value=name)
    return found


def _construct(
    factory: Callable[..., Any], positional: tuple[Any, ...], settings: Mapping[str, Any], section: str
) -> Any:
    parameters = list(inspect.signature(factory).parameters.values())[len(positional) :]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = [parameter.name for parameter in parameters]
        for key in settings:
            if key not in known:
                nearest = difflib.get_close_matches(key, known, n=1)
                raise UnknownNameError(
                    f"{getattr(factory, '__name__', factory)} takes no setting called {key}.",
                    place=Place(section=section, key=key),
                    rule=f"It takes {', '.join(known) or 'none'}",
                    remedy=f"Did you mean {nearest[0]}?" if nearest else None,
                )
    try:
        return factory(*positional, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{getattr(factory, '__name__', factory)} cannot be made from its settings: {error}.",
            place=Place(section=section),
            value=dict(settings),
        ) from error
