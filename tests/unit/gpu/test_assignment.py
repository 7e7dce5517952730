from __future__ import annotations

import pytest

from components.errors import ConfigError
from components.gpu.assignment import describe_mask_fault, is_hiding_all, list_visible, split_gpus


@pytest.mark.parametrize(
    ("workers", "gpus", "visible", "wanted"),
    [
        pytest.param(2, 2, None, ["0", "1"], id="one each"),
        pytest.param(2, 4, None, ["0,1", "2,3"], id="two each"),
        pytest.param(2, 2, "3,1", ["3", "1"], id="inherited indices"),
        pytest.param(2, 2, "GPU-8932f937, GPU-d5", ["GPU-8932f937", "GPU-d5"], id="UUIDs"),
        pytest.param(2, 2, "5,4,-1,2", ["5", "4"], id="CUDA ignores the rest of the list"),
        pytest.param(1, 2, "1,0,", ["1,0"], id="an empty entry ends the list"),
    ],
)
def test_each_worker_gets_gpus_of_its_own(
    workers: int, gpus: int, visible: str | None, wanted: list[str]
) -> None:
    assert split_gpus(workers, list_visible(gpus, visible)) == wanted


@pytest.mark.parametrize(
    ("workers", "gpus", "divisors"),
    [pytest.param(4, 2, "1, 2,", id="too few"), pytest.param(3, 8, "1, 2, 4, 8,", id="uneven")],
)
def test_gpus_that_cannot_be_divided_equally_are_refused(
    workers: int, gpus: int, divisors: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        split_gpus(workers, list_visible(gpus, None))
    assert f"this machine shows {gpus} GPUs, and train.workers is {workers}" in str(caught.value)
    assert f"set train.workers to {divisors} or CUDA_VISIBLE_DEVICES" in str(caught.value)


@pytest.mark.parametrize(
    ("visible", "fault"),
    [
        pytest.param("0,0", "names 0 twice, which hides all GPUs", id="index twice"),
        pytest.param("GPU-a, GPU-a", "names GPU-a twice, which hides all GPUs", id="UUID twice"),
        pytest.param(",0,1", "begins with an empty entry, which ends the list", id="empty entry"),
        pytest.param("0,,0", "", id="what follows an empty entry is ignored"),
        pytest.param("0,1", "", id="two GPUs"),
    ],
)
def test_a_list_that_hides_all_gpus_is_explained(visible: str, fault: str) -> None:
    assert describe_mask_fault(visible) == fault


@pytest.mark.parametrize("visible", ["0,0", ",0", "0", "0,,1"])
def test_gpus_are_given_to_workers_only_if_each_has_a_name(visible: str) -> None:
    with pytest.raises(ConfigError, match=rf"CUDA_VISIBLE_DEVICES='{visible}' .* once: name each"):
        list_visible(2, visible)


def test_gpus_are_hidden_on_purpose_or_by_mistake() -> None:
    assert all(map(is_hiding_all, ("", " ", "-1", "NoDevFiles")))
    assert not any(map(is_hiding_all, (None, "0", "GPU-xyz", ",0,1", "a,b")))
