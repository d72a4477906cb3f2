"""Trains one network on real images with PyTorch's group norm backward and with ours, and fails if the curves part.

No kernels and no timing of single calls; benchmarks/backward.py has those.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

import group_norm_grad

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BACKWARD_OPS = ("aten::native_group_norm_backward", "group_norm_grad::group_norm_backward")
BATCH = 64
PROFILED_STEPS = 10
IMAGES = 1797
TEST_IMAGES = 360

# The bound on how far a curve may part from F.group_norm's. Two gradients that differ in their last bits do part the
# curves, as training multiplies differences, and how far depends on epochs, dtype and machine: so it is measured. A control
# run, F.group_norm again with every initial weight moved by its last bit, shows what rounding alone does here, and ours may
# do CONTROL_FACTOR times that (one sample of a random distance), or the floor where that is larger (a control can be
# lucky). The first steps, before anything is multiplied, are bounded tightly and show a gradient that is wrong by 1e-3;
# the epoch means show that training went the same way.
FIRST_STEPS = 10
CONTROL_FACTOR = 10.0
FLOOR = {"float32": (1e-5, 2e-3), "bfloat16": (5e-3, 2e-2)}  # first steps, epoch means


class Norm(nn.Module):
    """Group normalisation by a function given; its parameters are made as nn.GroupNorm makes them."""

    def __init__(self, function: Callable[..., Tensor], groups: int, channels: int) -> None:
        super().__init__()
        self.function, self.groups = function, groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        return self.function(input, self.groups, self.weight, self.bias)


class Block(nn.Module):
    """Residual block: two 3x3 convolutions, each followed by a norm; the first may halve the image."""

    def __init__(self, norm: Callable[[int, int], nn.Module], inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = norm(8, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = norm(8, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H or H/2, W or W/2)."""
        y = F.silu(self.norm1(self.conv1(x)))
        return F.silu(self.norm2(self.conv2(y)) + self.shortcut(x))


def network(norm: Callable[[int, int], nn.Module]) -> nn.Sequential:
    """A residual network for (N, 1, 32, 32) images of ten classes, seven norms."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False),
        norm(8, 16),
        nn.SiLU(),
        Block(norm, 16, 16),
        Block(norm, 16, 32),
        Block(norm, 32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


@dataclass(frozen=True)
class Way:
    """One way to run the norm: how the network is built, what is done to it, and around its training."""

    name: str
    norm: Callable[[int, int], nn.Module]
    prepare: Callable[[nn.Module], object] = lambda _: None
    scope: Callable[[], AbstractContextManager[object]] = nullcontext


def nudge(model: nn.Module) -> None:
    """Moves every weight by one unit in its last place, away from zero or towards it at random."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        side = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
        parameter.data = torch.nextafter(parameter.data, side * math.inf)


def by(function: Callable[..., Tensor]) -> Callable[[int, int], nn.Module]:
    """A constructor of norms that call the function."""
    return lambda groups, channels: Norm(function, groups, channels)


WAYS = (
    Way("F.group_norm", by(F.group_norm)),
    Way("group_norm_grad.group_norm", by(group_norm_grad.group_norm)),
    Way("convert_group_norm", nn.GroupNorm, group_norm_grad.convert_group_norm),
    Way("F.group_norm, enabled()", by(F.group_norm), scope=group_norm_grad.enabled),
)
CONTROL = Way("control: last bits moved", by(F.group_norm), nudge)


@dataclass
class Run:
    """What one training gave; losses are means over a batch or an epoch."""

    name: str
    step_losses: list[float]
    epoch_losses: list[float]
    test_accuracy: float
    seconds: float
    norm_backward_ms_per_step: float


@dataclass(frozen=True)
class Data:
    """Images (N, 1, 32, 32) and labels (N), on the device."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load(options: argparse.Namespace) -> Data:
    """scikit-learn's 1,797 handwritten digits, 8x8 upsampled to 32x32, standardised, the last 360 for testing."""
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None]
    images = F.interpolate(images, (32, 32), mode="bilinear", align_corners=False)
    images = ((images - images.mean()) / images.std()).to(
        options.device, memory_format=memory_format
    )
    labels = torch.from_numpy(digits.target).to(options.device)
    n, cut = options.images, len(images) - TEST_IMAGES
    return Data(images[:n], labels[:n], images[cut:], labels[cut:])


class Trainer:
    """One model, its optimizer and its data order, all from the seed."""

    def __init__(self, way: Way, data: Data, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.data, self.options = data, options
        self.model = network(way.norm).to(options.device)
        if options.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        way.prepare(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.9)
        self.order = torch.Generator().manual_seed(options.seed)

    def _logits(self, images: Tensor) -> Tensor:
        dtype = DTYPES[self.options.dtype]
        device_type = torch.device(self.options.device).type
        with torch.autocast(device_type, dtype, enabled=dtype != torch.float32):
            return self.model(images)

    def batches(self) -> list[Tensor]:
        """The indices of one epoch's batches; the same sequence for every way."""
        return list(torch.randperm(len(self.data.train_images), generator=self.order).split(BATCH))

    def step(self, batch: Tensor) -> float:
        """One step of training; returns the loss before it."""
        images, labels = self.data.train_images[batch], self.data.train_labels[batch]
        loss = F.cross_entropy(self._logits(images).float(), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def accuracy(self) -> float:
        """Share of the test images that are recognised."""
        hits = [
            (self._logits(images).argmax(1) == labels).sum()
            for images, labels in zip(
                self.data.test_images.split(BATCH), self.data.test_labels.split(BATCH), strict=True
            )
        ]
        return float(sum(map(int, hits)) / len(self.data.test_images))


def norm_backward_ms(trainer: Trainer) -> float:
    """Milliseconds a step in the norm's backward operators, all threads of the caller, by torch.profiler."""
    batches = [batch for batch in trainer.batches()[:PROFILED_STEPS] if len(batch) == BATCH]
    trainer.step(batches[0])
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for batch in batches:
            trainer.step(batch)
    events = [event for event in profiler.key_averages() if event.key in BACKWARD_OPS]
    if not events:
        raise RuntimeError(f"the profiler saw none of {', '.join(BACKWARD_OPS)}")
    return sum(event.cpu_time_total for event in events) / 1e3 / len(batches)


def train(way: Way, data: Data, options: argparse.Namespace) -> Run:
    """Trains one network; the progress bar counts steps."""
    trainer = Trainer(way, data, options)
    step_losses: list[float] = []
    epoch_losses: list[float] = []
    steps = options.epochs * math.ceil(len(data.train_images) / BATCH)
    bar = tqdm(total=steps, desc=f"{way.name:<28}", unit="step", disable=options.quiet)
    with way.scope(), bar:
        start = time.perf_counter()
        for _ in range(options.epochs):
            losses = []
            for batch in trainer.batches():
                losses.append(trainer.step(batch))
                bar.update()
            step_losses += losses
            epoch_losses.append(sum(losses) / len(losses))
            bar.set_postfix(loss=f"{epoch_losses[-1]:.4f}")
        seconds = time.perf_counter() - start
        accuracy = trainer.accuracy()
        backward_ms = norm_backward_ms(trainer)
    return Run(way.name, step_losses, epoch_losses, accuracy, seconds, backward_ms)


def parting(a: Sequence[float], b: Sequence[float]) -> float:
    """Largest distance between two curves; infinite where one is not finite."""
    distances = [abs(x - y) for x, y in zip(a, b, strict=True)]
    return max((d if math.isfinite(d) else math.inf for d in distances), default=0.0)


@dataclass(frozen=True)
class Bounds:
    """How far a curve may part from F.group_norm's: over the first steps, and over all epoch means."""

    first_steps: float
    epochs: float


def bounds(reference: Run, control: Run, dtype: str) -> Bounds:
    """CONTROL_FACTOR times what rounding does to the control run here, or the floor where that is larger."""
    first, epochs = FLOOR[dtype]
    return Bounds(
        max(first, CONTROL_FACTOR * first_steps_parting(reference, control)),
        max(epochs, CONTROL_FACTOR * parting(reference.epoch_losses, control.epoch_losses)),
    )


def first_steps_parting(a: Run, b: Run) -> float:
    """Largest distance of the first FIRST_STEPS losses."""
    return parting(a.step_losses[:FIRST_STEPS], b.step_losses[:FIRST_STEPS])


def print_table(runs: Sequence[Run], reference: Run) -> None:
    """One line a run; parted is the distance from F.group_norm's curve, first steps and epochs."""
    head = (
        "way",
        "final loss",
        "test acc",
        "seconds",
        "norm bwd ms/step",
        "parted: first steps",
        "epochs",
    )
    rows = [head] + [
        (
            run.name,
            f"{run.epoch_losses[-1]:.5f}",
            f"{run.test_accuracy:.2%}",
            f"{run.seconds:.1f}",
            f"{run.norm_backward_ms_per_step:.2f}",
            f"{first_steps_parting(run, reference):.2e}",
            f"{parting(run.epoch_losses, reference.epoch_losses):.2e}",
        )
        for run in runs
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        print("  ".join(cells))


def plot(runs: Sequence[Run], options: argparse.Namespace, path: Path) -> None:
    """Loss curves above, distances from the first run's curve below."""
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 7), sharex=True, layout="constrained"
    )
    epochs = range(1, len(runs[0].epoch_losses) + 1)
    styles = itertools.cycle(("-", "--", "-.", ":", (0, (1, 3))))
    for run, style in zip(runs, styles, strict=False):
        above.plot(epochs, run.epoch_losses, label=run.name, linestyle=style, linewidth=2)
        distance = [abs(a - b) for a, b in zip(run.epoch_losses, runs[0].epoch_losses, strict=True)]
        below.plot(epochs, distance, label=run.name, linestyle=style, linewidth=2)
    above.set(
        yscale="log",
        ylabel="training loss (epoch mean)",
        title=f"digits, {options.dtype}, {'channels last' if options.channels_last else 'contiguous'}",
    )
    below.set(xlabel="epoch", ylabel=f"distance from {runs[0].name}")
    below.set_yscale("symlog", linthresh=1e-7)
    below.set_ylim(bottom=0)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    above.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; --help prints their defaults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10, help="passes over the training images")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="bfloat16 is by autocast, and slow where the CPU has no instructions for it",
    )
    parser.add_argument("--images", type=int, default=IMAGES - TEST_IMAGES, help="training images")
    parser.add_argument("--channels-last", action="store_true", help="memory format of the images")
    parser.add_argument("--device", default="cpu", help="torch device to train on")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the weights and the order of images"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the plot and JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(argv)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")
    if not BATCH <= options.images <= IMAGES - TEST_IMAGES:
        parser.error(f"--images must be {BATCH} to {IMAGES - TEST_IMAGES}, got {options.images}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Trains every way, prints the table, writes plot and JSON; 1 if a curve parts by more than its bound."""
    options = parse(argv)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler writes over the progress bar
    data = load(options)
    reference, *others, control = (train(way, data, options) for way in (*WAYS, CONTROL))
    runs = [reference, *others, control]
    print_table(runs, reference)
    bound = bounds(reference, control, options.dtype)
    parted = [
        run.name
        for run in others
        if first_steps_parting(run, reference) > bound.first_steps
        or parting(run.epoch_losses, reference.epoch_losses) > bound.epochs
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / f"train_digits_{options.dtype}{'_channels_last' * options.channels_last}"
    plot(runs, options, stem.with_suffix(".png"))
    record = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "options": {key: str(value) for key, value in vars(options).items()},
        "bounds": asdict(bound),
        "parted": parted,
        "runs": [asdict(run) for run in runs],
    }
    stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"plot and figures: {stem}.png, {stem}.json")
    print(
        f"bounds: {bound.first_steps:.1e} over the first {FIRST_STEPS} steps, {bound.epochs:.1e} over the epochs "
        f"({CONTROL_FACTOR:g} times what moving the last bit of the weights does, or a floor)"
    )
    if parted:
        print(f"FAILED: parted from {reference.name}: {', '.join(parted)}", file=sys.stderr)
        return 1
    print("the curves stay together")
    return 0


if __name__ == "__main__":
    sys.exit(main())
