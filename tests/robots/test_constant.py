"""Constants with unit, basis and source."""

import math

import pytest

from waldo.errors import ConfigError
from waldo.robots.constant import Constant


@pytest.mark.parametrize(("basis", "std"), [("published", 0.1), ("measured", 0.1), ("fitted", 0.15), ("assumed", 0.4)])
def test_the_uncertainty_follows_from_the_basis(basis, std):
    assert Constant(2.0, "Ω", basis, "a test").relative_std == std


def test_a_given_uncertainty_replaces_the_default():
    assert Constant(2.0, "Ω", "assumed", "a test", std=0.02).relative_std == 0.02


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_value_that_is_not_positive_is_refused(value):
    with pytest.raises(ConfigError, match="expected a number above 0"):
        Constant(value, "Ω", "measured", "a test")


def test_basis_source_and_uncertainty_are_checked():
    with pytest.raises(ConfigError, match="basis is 'guessed', expected published, measured, fitted or assumed"):
        Constant(1.0, "Ω", "guessed", "a test")
    with pytest.raises(ConfigError, match="source is '', expected the origin of the value"):
        Constant(1.0, "Ω", "measured", "")
    with pytest.raises(ConfigError, match=r"std is -0\.1, expected a fraction of the value, 0 or more"):
        Constant(1.0, "Ω", "measured", "a test", std=-0.1)
