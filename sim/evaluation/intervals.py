"""Confidence intervals of a success rate: Wilson's score interval and Clopper and Pearson's exact one."""

from __future__ import annotations

import math
from collections.abc import Callable

from waldo.errors import InvalidValueError

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def _check(successes: int, trials: int) -> None:
    if trials < 1:
        raise InvalidValueError("trials", trials, "a number from 1")
    if not 0 <= successes <= trials:
        raise InvalidValueError("successes", successes, f"a number from 0 to {trials}")


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a rate (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    _check(successes, trials)
    rate, z2 = successes / trials, Z_95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 / (1 + z2 / trials) * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == trials else centre + half


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % exact interval of a rate (Clopper and Pearson 1934, Biometrika 26:404); never too narrow."""
    _check(successes, trials)
    low = 0.0 if successes == 0 else _root(lambda p: _at_least(successes, trials, p) - 0.025)
    high = 1.0 if successes == trials else _root(lambda p: _at_least(successes + 1, trials, p) - 0.975)
    return low, high


def _at_least(successes: int, trials: int, p: float) -> float:
    """Return the probability of `successes` or more in `trials`; rises with p."""
    if p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    log_p, log_q = math.log(p), math.log1p(-p)
    terms = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log_p + (trials - k) * log_q
        for k in range(successes, trials + 1)
    )
    return math.fsum(math.exp(term) for term in terms)


def _root(rising: Callable[[float], float]) -> float:
    """Return where a rising function of a rate crosses zero."""
    low, high = 0.0, 1.0
    for _step in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
