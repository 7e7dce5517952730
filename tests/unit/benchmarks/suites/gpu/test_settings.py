"""Options become trainings; those that cannot be are refused with the possible values."""

from __future__ import annotations

import pytest

from benchmarks.suites.gpu.settings import (
    TrainingSetup,
    choose_settings,
    choose_setups,
    parse_setup,
)


def test_a_setup_is_read_as_it_is_shown() -> None:
    for text in ("minilm:tf32", "bert-base:bfloat16:xla"):
        assert str(parse_setup(text)) == text


@pytest.mark.parametrize("text", ["", "minilm", "minilm:int8", "gpt:float32", "minilm:float32:jit"])
def test_another_setup_is_refused_with_the_possible_values(text: str) -> None:
    with pytest.raises(ValueError, match=r"MODEL:PRECISION.*minilm, bert-base.*float32, tf32"):
        parse_setup(text)


def test_gpus_before_ampere_are_timed_in_float16() -> None:
    precisions = {setup.precision for setup in choose_setups(("minilm",), (7, 5))}
    assert precisions == {"float32", "float16"}


def test_both_models_are_timed_in_three_precisions_with_xla_off_and_on() -> None:
    setups = choose_settings("gpu", quick=False, capability=(8, 9)).setups
    assert len(setups) == 2 * 3 * 2
    assert TrainingSetup("bert-base", "bfloat16", xla=True) in setups
