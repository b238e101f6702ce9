"""The learning rate's factor against values computed by hand."""

import math

import pytest

from headstart.config.schema import Decay, SchedulerConfig
from headstart.training.schedule import lr_factor

COSINE = SchedulerConfig(name="c", decay=Decay.cosine, warmup_fraction=0.2, final_factor=0.01)
CONSTANT = SchedulerConfig(name="k", decay=Decay.constant, warmup_fraction=0.2)


def test_warm_up_is_linear_from_a_tenth():
    """20 of 100 steps: 0.1 + 0.9 * step / 20."""
    assert [lr_factor(step, 100, COSINE) for step in (0, 10, 20)] == pytest.approx([0.1, 0.55, 1.0])


def test_cosine_is_at_half_in_the_middle_and_at_its_end_in_the_last_step():
    """Steps 20 to 99: the middle of 1 and 0.01 is 0.505; a third of the way cos(60 degrees) = 1/2 gives 0.7525."""
    schedule = SchedulerConfig(name="c", decay=Decay.cosine, warmup_fraction=0.0, final_factor=0.01)
    assert lr_factor(0, 91, schedule) == 1.0
    assert [lr_factor(step, 91, schedule) for step in (30, 45, 90)] == pytest.approx([0.7525, 0.505, 0.01])
    assert lr_factor(99, 100, COSINE) == pytest.approx(0.01)


def test_constant_stays():
    assert {lr_factor(step, 100, CONSTANT) for step in range(20, 100)} == {1.0}


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert lr_factor(0, 10, SchedulerConfig(name="k", decay=Decay.constant, warmup_fraction=0.0)) == 1.0


@pytest.mark.parametrize("total", [1, 2, 3])
def test_runs_of_a_few_steps_have_finite_factors(total):
    for step in range(total + 1):  # Lightning asks once more, behind the last step
        for schedule in (COSINE, CONSTANT):
            assert 0 < lr_factor(step, total, schedule) <= 1
            assert math.isfinite(lr_factor(step, total, schedule))
