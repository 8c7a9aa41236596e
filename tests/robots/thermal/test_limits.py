"""The margins of all parts are on one scale."""

from waldo.fleet import heat_level
from waldo.robots import diagnostics
from waldo.robots.control.safety import SafetyConfig
from waldo.robots.thermal import limits
from waldo.robots.thermal.governor import GovernorConfig
from waldo.robots.thermal.monitor import MonitorConfig
from waldo.robots.thermal.observer import ObserverConfig


def test_the_governor_acts_before_the_safety_chain_and_warnings_before_the_governor():
    hold, governor, warn, cool = (
        SafetyConfig().heat_margin_k,
        GovernorConfig().margin_k,
        limits.WARN_MARGIN_K,
        MonitorConfig().cool_to_k,
    )
    assert 0 < hold < governor < hold + SafetyConfig().heat_hysteresis_k < warn < cool


def test_every_part_uses_the_margins_of_this_scale():
    assert SafetyConfig().heat_margin_k == limits.HOLD_MARGIN_K
    assert SafetyConfig().heat_hysteresis_k == limits.HOLD_HYSTERESIS_K
    assert GovernorConfig().margin_k == limits.GOVERNOR_MARGIN_K
    assert MonitorConfig().cool_to_k == limits.COOL_MARGIN_K
    assert ObserverConfig().ambient_c == limits.AMBIENT_C
    assert heat_level.bands_c(90.0) == limits.LEVELS_C
    assert diagnostics.level_of(90.0 - limits.WARN_MARGIN_K, 90.0)[0] == diagnostics.WARN
    assert diagnostics.level_of(90.0 - limits.WARN_MARGIN_K - 0.1, 90.0)[0] == diagnostics.OK
