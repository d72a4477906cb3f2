"""The real kernel under its real plan on the executor: right, clean and bit-equal on every case of the table."""

import numpy as np
import pytest
from kernel_cases import Case, cases, worst_error

from group_norm_grad import executor

SCHEDULE_SEEDS = (1, 20260731)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_case(case: Case) -> None:
    """Error within the bound, no finding of any check, and the same bits for every seed."""
    data = case.data()
    expected = executor.reference(data)
    runs = [
        executor.run(data, case.mask, soc=case.soc, vector_cores=case.cores, seed=seed)
        for seed in SCHEDULE_SEEDS
    ]
    for result in runs:
        findings = [f"{entry['check']}: {entry['text']}" for entry in result["report"]["findings"]]
        assert not findings, findings[:5]
        assert result["report"]["completed"]
    for output, wanted in zip(executor.OUTPUTS, case.mask, strict=True):
        if not wanted:
            assert runs[0][output] is None
            continue
        dtype = data.dtype if output == "grad_input" else data.weight_dtype
        ratio, text = worst_error(runs[0][output], dtype, *expected[output])
        assert ratio <= 1.0, f"{output}{text}"
        for other in runs[1:]:
            assert np.array_equal(runs[0][output], other[output]), output


@pytest.mark.parametrize("offset", [1e3, 1e4])
@pytest.mark.parametrize("shape", [(8, 64, 784, 8), (64, 128, 1, 8), (1, 16, 40_000, 2)], ids=str)
def test_large_mean_keeps_the_digits_of_grad_weight(shape: tuple[int, int, int, int], offset: float) -> None:
    """Sums are centred: at |mean| / std of 1e4 grad_weight still has five digits in float32."""
    data = Case("offset", shape, offset=offset).data()
    result = executor.run(data)
    want, size = executor.reference(data)["grad_weight"]
    error = np.abs(result["grad_weight"] - want) / np.maximum(np.abs(want), size)
    assert error.max() <= 1e-5
