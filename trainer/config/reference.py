"""Writes docs/configuration.md from the schema: `python -m trainer.config.reference > docs/configuration.md`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from trainer.config import schema
from trainer.config.dialects.four import FOUR
from trainer.config.dialects.three import THREE
from trainer.config.dialects.two import TWO_FIVE, TWO_ZERO
from trainer.config.dump import setting_text
from trainer.config.sections import FREE_SECTIONS, SECTION_ORDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trainer.config.dialects.rules import Dialect

_FREE_SENTENCES = {
    "env": "Keyword arguments of the environment; `puffer-sweep envs` says which a package takes.",
    "policy": "Keyword arguments of the policy class.",
    "rnn": "Keyword arguments of the recurrent wrapper.",
}

_INTRODUCTION = """\
# Configuration

One INI file says everything about a run and its sweep. This page is generated from the schema
(`python -m trainer.config.reference > docs/configuration.md`); a test keeps it current.

## Files

Keys are case-insensitive, values keep their case, `%` is an ordinary character. A value is a Python literal where
it parses as one (`100_000_000`, `1e-3`, `True`, `[84, 84]`), else a string; `true`, `false` and `none` in any case
mean what they say. ` # remark` or ` ; remark` behind a value is a remark, also behind a bare string, not inside
quotes. A whole number may be grouped by commas (`1,048,576`). A value that goes on over indented lines must be a
list. Files are UTF-8 and at most 4 MiB.

A file is merged key by key over `config/default.ini`, which holds the defaults below and sweeps nothing.
`env_name` may list several environments: the first is the default, `--env-name` picks another, and a section
`[NAME:section]`, such as `[Pendulum-v1:train]`, overrides that section for one of them.

CONFIG on the command line is a path, an environment's name, or `package/name`. Names are looked up in `./config`
first, then among the files that ship with puffer-sweep; a file that lists only that name beats one that lists it
among others, and what is still ambiguous is an error.

From Python:

```python
from trainer.config import dump_config, load_config, load_config_file

config = load_config("CartPole-v1")
config = load_config_file("my_config.ini", fill_in_default=True)
faster = config.override({"train.learning_rate": 1e-3, "sweep.train.gamma.max": 0.999})
print(dump_config(faster), config.origin("train.gamma"), config.notes)
```

A config is frozen; `override` returns a new, validated one. `load_config_file` of `dump_config` gives the same
config again.

## Command line

Every key is a flag: `--section.key value`, keys of `[base]` as `--key value`, with hyphens or underscores. Values
are read as in a file: `--train.compile False`, `--train.learning-rate 1e-3`, `--env.size "[84, 84]"`,
`--sweep.train.gamma.max 0.999`. A value given on the command line pins its key: if it is swept, it leaves the
search space, and that is said.

Unknown sections and keys are errors that name the nearest valid one. Keys of `[env]`, `[policy]` and `[rnn]` are
checked against the constructor that they go to, when it is made. Reading a file never imports or runs anything
that it names.
"""

_SWEPT = """\
## `[sweep.SECTION.KEY]`

Any setting of train, env, policy, rnn and vec can be swept.

"""

_DISTRIBUTIONS = """\

| distribution | z of a value v | back |
|---|---|---|
| uniform | (v - min) / (max - min) | linear; a whole number where the key's type is whole |
| int_uniform | the same | rounded |
| uniform_pow2 | log2(v / min) / log2(max / min) | the nearest power of two within the bounds |
| log_normal | log(v / min) / log(max / min) | exponential; a whole number where the key's type is whole |
| logit_normal | log((1 - v) / (1 - min)) / log((1 - max) / (1 - min)) | 1 - exponential: log-spaced in 1 - v |
| categorical | one of `values` | the value |

n = 2 z - 1 lies in [-1, 1]. `mean` is the centre of the search and the first suggestion after the config as
written; without it the config's own value is the centre. A mean a rounding error outside its bounds is clipped,
one further out is clipped with a warning. `scale` is the half-width around the centre in n: `auto` is 0.5, `time`
(log_normal only) is 1 / log2(max / min). The method `Random` draws over the whole space, with
`random_scale = True` around the centre by `scale`.

A key of `[env]`, `[policy]` or `[rnn]` counts as whole where the config's own value and both bounds are written as
whole numbers and at least three lie in the range; elsewhere `int_uniform` and `uniform_pow2` give whole numbers.

## Auto, and what must divide what

- `train.device = auto` takes CUDA where there is one, else the CPU; `cuda` without CUDA is an error.
- `vec.backend = auto` takes the best that the environment supports. `vec.num_workers = auto` is num_envs.
  `vec.batch_size = auto` is num_envs, or half of it where the backend can step one half while the policy works on
  the other.
- agents = num_envs x agents per environment. `train.batch_size = auto` is agents x bptt_horizon;
  `bptt_horizon = auto` is batch_size / agents; both auto is an error.
- agents <= batch_size / bptt_horizon, and batch_size is a multiple of bptt_horizon.
- minibatch_size <= batch_size, and a multiple of bptt_horizon. `num_minibatches`, where it is given, settles it.
- A minibatch_size above max_minibatch_size is a multiple of it (gradients are accumulated), and max_minibatch_size
  then is a multiple of bptt_horizon.
- num_envs is a multiple of vec.batch_size and of num_workers.

A violation is an error with the arithmetic and the nearest valid values. Only a minibatch_size or
max_minibatch_size left at its default is lowered to fit, and that is said. total_timesteps below one batch runs
one batch, with a warning. In a sweep, a sample that does not fit is sampled again and never counts as a run.
"""

_DIALECTS = """\
## Other dialects

Files of PufferLib 2.0, 2.5 and 4.0, and what forks of 3.0 add, are recognised by settings that only they have.
What has an exact counterpart is translated, each translation with a line in the config's notes; what has none is
refused with a complete list of reasons. `puffer-sweep convert OLD.ini -o NEW.ini` writes a file in this dialect.
"""

_FUZZING = """\
## Tested with

Every published file that the variable `PUFFER_SWEEP_CORPUS` leads to, and random input. Ten minutes of it:

```
PUFFER_SWEEP_FUZZ_SECONDS=600 python -m pytest tests/trainer/config/test_config_fuzz.py -m slow --timeout 900
```
"""


def reference_page() -> str:
    """The page as Markdown."""
    blocks = [_INTRODUCTION]
    for section in SECTION_ORDER:
        if section in FREE_SECTIONS:
            blocks.append(f"## `[{section}]`\n\n{_FREE_SENTENCES[section]}\n")
            continue
        held = [entry for entry in schema.entries().values() if entry.section == section]
        doc = held[0].section_sentence
        rows = [(f"`{e.key}`", e.kind, f"`{setting_text(e.default)}`", e.sentence) for e in held]
        blocks.append(f"## `[{section}]`\n\n{doc}\n\n" + _table(("key", "type", "default", ""), rows))
    swept = [(f"`{key}`", sentence) for key, sentence in schema.parameter_keys().items()]
    blocks.append(_SWEPT + _table(("key", ""), swept) + _DISTRIBUTIONS)
    blocks.append(_DIALECTS + "\n" + "\n".join(_dialect_blocks()))
    blocks.append(_FUZZING)
    return "\n".join(blocks)


def _dialect_blocks() -> Iterator[str]:
    for dialect in (TWO_ZERO, TWO_FIVE, THREE, FOUR):
        shared = None if dialect is TWO_ZERO else TWO_ZERO
        yield f"### {dialect.name}\n\n" + _table(("there", "here"), _renames(dialect, shared))


def _renames(dialect: Dialect, shared: Dialect | None) -> Iterator[tuple[str, str]]:
    if shared is not None:
        yield "everything of PufferLib 2.0 but its built-in settings", "as there"
    for name, rule in dialect.rules.items():
        if rule.target is not None and rule.target != name and (shared is None or name not in shared.rules):
            yield f"`{name}`", f"`{rule.target}`"
    for foreign, own in dialect.distributions.items():
        if shared is None:
            yield f"distribution `{foreign}`", f"`{own}`"
    for name, value in dialect.implied.items():
        yield "(built in)", f"`{name} = {value}`"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference_page())
