"""Trains the digits network a few steps on the loopback device by every drop-in, and on the CPU, and compares the curves.

`make demo DEVICE=npu-loopback` runs it. It shows that our backward works through torch_npu, not how fast: the device is the
executor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

STEPS = 4
BATCH = 4
# The kernel and the CPU add in different orders, and a step multiplies the difference; measured, 4 steps part the losses by
# less than 2e-6.
BOUND = 2e-5


def losses(device: str, way: object, steps: int) -> list[float]:
    """The loss before each step, from the same weights and images for every device and way."""
    import torch
    import train_digits

    options = argparse.Namespace(
        device=device, channels_last=False, images=BATCH * steps, seed=0, dtype="float32"
    )
    train_digits.BATCH = BATCH
    trainer = train_digits.Trainer(way, train_digits.load(options), options)
    # One tensor at a time: the loopback device has no operator for lists of tensors.
    trainer.optimizer = torch.optim.SGD(
        trainer.model.parameters(), lr=0.02, momentum=0.9, foreach=False
    )
    data, curve = trainer.data, []
    with way.scope():  # type: ignore[attr-defined]
        for first in range(0, BATCH * steps, BATCH):
            images = data.train_images.narrow(0, first, BATCH)
            labels = data.train_labels.narrow(0, first, BATCH)
            loss = torch.nn.functional.cross_entropy(trainer.model(images), labels)
            trainer.optimizer.zero_grad()
            loss.backward()
            trainer.optimizer.step()
            curve.append(loss.item())
    return curve


def compare(steps: int) -> int:
    """Prints one line a drop-in; 1 when a curve leaves the CPU's."""
    import torch

    from tests.loopback_acl import build

    sys.path.insert(0, str(build.ROOT / "benchmarks"))
    import train_digits

    # Else weights of convolutions go to a layout of the hardware's matrix unit.
    torch.npu.set_compile_mode(jit_compile=False)
    want = losses("cpu", train_digits.WAYS[0], steps)
    print(f"{'F.group_norm on the CPU':<42}", *(f"{loss:.6f}" for loss in want))
    bad = 0
    for way in train_digits.WAYS:
        got = losses("npu", way, steps)
        worst = max(abs(a - b) for a, b in zip(got, want, strict=True))
        bad += not worst <= BOUND
        name = way.name + " on npu" + (" (C API)" if way.name == "F.group_norm" else "")
        print(f"{name:<42}", *(f"{loss:.6f}" for loss in got), f"  parted by {worst:.1e}")
    print(f"bound {BOUND:.0e}: " + ("ok" if not bad else f"{bad} curve(s) outside"))
    return int(bad > 0)


def main() -> int:
    """Starts itself again in the environment of the loopback device."""
    parser = argparse.ArgumentParser(prog="make demo DEVICE=npu-loopback", description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    if "LOOPBACK_ACL_SOC" in os.environ:
        return compare(options.steps)
    from tests.loopback_acl import build
    from tests.loopback_acl.session import npu_environment

    build.fetch_torch_npu()
    print(
        "The device is the executor behind the loopback ACL runtime: right values, no speed.",
        flush=True,
    )
    env = npu_environment(
        LOOPBACK_ACL_KERNEL_CHECKS=os.environ.get("LOOPBACK_ACL_KERNEL_CHECKS", "0")
    )
    command = [sys.executable, "-m", "tests.loopback_acl.demo", "--steps", str(options.steps)]
    return subprocess.run(command, env=env, cwd=build.ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
