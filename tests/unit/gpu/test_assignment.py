from __future__ import annotations

import pytest

from components.errors import ConfigError
from components.gpu.assignment import split_gpus


@pytest.mark.parametrize(
    ("workers", "gpus", "visible", "wanted"),
    [
        pytest.param(1, 0, None, [None], id="no GPU"),
        pytest.param(3, 0, "", ["", "", ""], id="GPUs hidden on purpose"),
        pytest.param(1, 4, None, [None], id="one worker uses all"),
        pytest.param(1, 2, "3,1", ["3,1"], id="one worker uses all that are visible"),
        pytest.param(2, 2, None, ["0", "1"], id="one each"),
        pytest.param(2, 4, None, ["0,1", "2,3"], id="two each"),
        pytest.param(2, 2, "3,1", ["3", "1"], id="inherited indices"),
        pytest.param(2, 2, "GPU-8932f937, GPU-d5", ["GPU-8932f937", "GPU-d5"], id="UUIDs"),
        pytest.param(2, 2, "5,4,-1,2", ["5", "4"], id="CUDA ignores the rest of the list"),
    ],
)
def test_each_worker_gets_gpus_of_its_own(
    workers: int, gpus: int, visible: str | None, wanted: list[str | None]
) -> None:
    assert split_gpus(workers, gpus, visible) == wanted


@pytest.mark.parametrize(
    ("workers", "gpus", "divisors"),
    [pytest.param(4, 2, "1, 2,", id="too few"), pytest.param(3, 8, "1, 2, 4, 8,", id="uneven")],
)
def test_gpus_that_cannot_be_divided_equally_are_refused(
    workers: int, gpus: int, divisors: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        split_gpus(workers, gpus, None)
    assert f"train.workers is {workers}, and this machine shows {gpus} GPUs" in str(caught.value)
    assert f"set train.workers to {divisors} or CUDA_VISIBLE_DEVICES" in str(caught.value)
