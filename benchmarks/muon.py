"""What a step of Muon costs on the Nature CNN: ours, heavyball's and fused Adam, and how exact ours is.

    python -m benchmarks.muon --rivals-python rivals/bin/python -o benchmarks/results/muon-DATE.json

Heavyball iterates in bfloat16, which a processor without such arithmetic imitates at a fiftieth of the speed;
"heavyball in float32" is the same with its rounding taken out. Each contender steps the same weights (convolutions
32x4x8x8, 64x32x4x4, 64x64x3x3, the layer 512x3136, the heads and biases) with the same gradients, in a process of its
own, in turn. The error is the largest difference between a layer's orthogonalised momentum in float32 and in float64,
over random gradients, over gradients of decaying columns, and over ones whose singular values fall by a tenth each.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
KERNELS = ((32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136))
BIASES = (32, 64, 64, 512, 4, 1)
HEADS = ((4, 512), (1, 512))
WARM_UP_STEPS = 3
HEAVYBALL_FLOAT32 = "heavyball in float32"
CONTENDERS = ("ours", HEAVYBALL_FLOAT32, "heavyball", "adam")


def make_parameters() -> list[torch.nn.Parameter]:
    """The Nature CNN's weights with gradients, the same in every process."""
    generator = torch.Generator().manual_seed(0)
    parameters = []
    for shape in (*KERNELS, *HEADS, *((size,) for size in BIASES)):
        parameter = torch.nn.Parameter(0.02 * torch.randn(shape, generator=generator))
        parameter.grad = 1e-3 * torch.randn(shape, generator=generator)
        parameters.append(parameter)
    return parameters


class Holder(torch.nn.Module):
    """Parameters as a policy holds them: the heads are left to Adam."""

    def __init__(self, parameters: list[torch.nn.Parameter], *, adam_only: bool) -> None:
        super().__init__()
        self.adam_only = adam_only
        self.weights = torch.nn.ParameterList(parameters)


def make_step(contender: str) -> Callable[[], object]:
    """A function that makes one step."""
    parameters = make_parameters()
    if contender.startswith("heavyball"):
        import heavyball

        if contender == HEAVYBALL_FLOAT32:
            rounded = heavyball.utils.stochastic_round_
            heavyball.utils.stochastic_round_ = lambda ref, source=None: (
                ref if source is None else rounded(ref, source)
            )
        heavyball.utils.compile_mode = None  # no compiler, as PufferLib sets it unless told otherwise
        optimizer = heavyball.Muon(parameters, lr=1e-4, betas=(0.95, 0.999), eps=1e-8)
        gradients = [parameter.grad for parameter in parameters]

        def step() -> None:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()

        return step
    if contender == "adam":
        return torch.optim.Adam(parameters, lr=1e-4, fused=True).step
    from trainer.optimizers import Muon

    body, heads = parameters[: len(KERNELS)], parameters[len(KERNELS) :]
    policy = torch.nn.ModuleList([Holder(body, adam_only=False), Holder(heads, adam_only=True)])
    return Muon(policy, learning_rate=1e-4, betas=(0.95, 0.999), eps=1e-8).step


def measure_here(contender: str, threads: int, seconds: float) -> float:
    """Milliseconds of a step, median."""
    torch.set_num_threads(threads)
    step = make_step(contender)
    for _ in range(WARM_UP_STEPS):
        step()
    times = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return 1e3 * statistics.median(times)


def largest_error() -> dict[str, float]:
    """Of our float32 orthogonalisation against float64, by the gradient's spectrum."""
    from trainer.optimizers.muon import orthogonalise

    generator = torch.Generator().manual_seed(1)
    errors = {"random": 0.0, "decaying": 0.0, "steep": 0.0}
    for shape in KERNELS:
        rows, columns = shape[0], int(torch.Size(shape).numel() // shape[0])
        matrix = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
        decaying = matrix * torch.logspace(0, -4, columns, dtype=torch.float64)
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        steep = left * 0.9 ** torch.arange(rows) @ right
        for name, exact in (("random", matrix), ("decaying", decaying), ("steep", steep)):
            # The input is rounded first, so that only the arithmetic counts.
            rounded = exact.float()
            difference = orthogonalise(rounded).double() - orthogonalise(rounded.double())
            errors[name] = max(errors[name], float(difference.abs().max()))
    return errors


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rivals-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    if asked.here:
        print(json.dumps(measure_here(asked.here, asked.threads, asked.seconds)))
        return
    from benchmarks.throughput import hardware

    milliseconds: dict[str, list[float]] = {name: [] for name in asked.contenders}
    environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads)}
    for _ in range(asked.repeats):
        for contender, values in milliseconds.items():
            python = asked.rivals_python if contender.startswith("heavyball") else sys.executable
            words = [python, "-m", "benchmarks.muon", "--here", contender, "--threads", str(asked.threads)]
            words += ["--seconds", str(asked.seconds)]
            done = subprocess.run(
                words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                print(f"{contender}: skipped ({done.stderr.strip().splitlines()[-1]})", file=sys.stderr)
                continue
            values.append(json.loads(done.stdout.strip().splitlines()[-1]))
    medians = {name: statistics.median(values) for name, values in milliseconds.items() if values}
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "hardware": hardware(),
        "threads": asked.threads,
        "milliseconds": {
            name: {"median": medians[name], "min": min(milliseconds[name]), "max": max(milliseconds[name])}
            for name in medians
        },
        "ratios": {name: medians["ours"] / median for name, median in medians.items() if "ours" in medians},
        "largest_error": largest_error(),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if asked.output is not None:
        asked.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
