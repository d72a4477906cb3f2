"""What a call costs where there is next to nothing to compute: the operator alone, and forward and backward through autograd."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import torch
import torch.nn.functional as F
from harness import DTYPES

import group_norm_grad

N, C, SPACE, G, EPS = 2, 32, (8, 8), 8, 1e-5


def make_calls(dtype: torch.dtype) -> dict[str, dict[str, Callable[[], Any]]]:
    """The pairs of calls to compare, ours and PyTorch's."""
    S = SPACE[0] * SPACE[1]
    x = torch.randn(N, C, *SPACE).to(dtype).requires_grad_()
    weight, bias = (torch.rand(C).to(dtype).requires_grad_() for _ in range(2))
    grad_out = torch.randn(N, C, *SPACE).to(dtype)
    data, w, b = x.detach(), weight.detach(), bias.detach()
    _, mean, rstd = torch.ops.aten.native_group_norm(data, w, b, N, C, S, G, EPS)
    given = (grad_out, data, mean, rstd, w, N, C, S, G, [True, True, True])
    ours, aten = torch.ops.group_norm_grad, torch.ops.aten

    def both(group_norm: Callable[..., torch.Tensor]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(
            group_norm(x, G, weight, bias, EPS), (x, weight, bias), grad_out
        )

    return {
        "backward operator": {
            "ours": lambda: ours.group_norm_backward(*given),
            "aten": lambda: aten.native_group_norm_backward(*given),
        },
        "forward operator": {
            "ours": lambda: ours.group_norm_forward(data, w, b, N, C, S, G, EPS),
            "aten": lambda: aten.native_group_norm(data, w, b, N, C, S, G, EPS),
        },
        "forward and backward": {
            "ours": both(group_norm_grad.group_norm),
            "aten": both(F.group_norm),
        },
    }


def main() -> None:
    """Print microseconds and the ratio of the fastest, each pair interleaved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="measured a pair")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    records = []
    for name, dtype in DTYPES.items():
        for what, calls in make_calls(dtype).items():
            times = harness.measure(calls, options.seconds)
            ratio = times["ours"].best / times["aten"].best
            records.append(
                {"what": what, "dtype": name, "ratio": ratio}
                | {f"{k}_us": 1e6 * t.best for k, t in times.items()}
            )
            print(
                f"{what} {name}: {1e6 * times['ours'].best:.2f} us, "
                f"PyTorch {1e6 * times['aten'].best:.2f} us, ratio {ratio:.3f}",
                flush=True,
            )
    if options.json:
        harness.save(options.json, {"machine": harness.machine(), "pairs": records})


if __name__ == "__main__":
    main()
