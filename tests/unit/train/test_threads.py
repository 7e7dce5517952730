import pytest

from components.train.threads import Threads, threads_for


@pytest.mark.parametrize(
    ("cores", "hidden_size", "threads"),
    [
        pytest.param(2, 128, Threads(1, 2), id="narrow"),
        pytest.param(2, 129, Threads(2, 2), id="wide"),
        pytest.param(2, None, Threads(2, 2), id="width_not_known"),
        pytest.param(1, 64, Threads(1, 1), id="narrow_on_one_core"),
        pytest.param(1, 768, Threads(1, 1), id="wide_on_one_core"),
        pytest.param(9, 128, Threads(4, 9), id="narrow_on_many_cores"),
    ],
)
def test_a_narrow_model_splits_an_operation_over_half_of_the_cores(
    cores: int, hidden_size: int | None, threads: Threads
) -> None:
    assert threads_for(cores, hidden_size) == threads
