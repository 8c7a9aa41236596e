"""Temperature margins of a winding below its limit, on one scale.

::

    margin [K]
      0   the limit          diagnostics report ERROR, the fleet level is "over"
      2   HOLD_MARGIN_K      the safety chain stops following commands and holds
      4   GOVERNOR_MARGIN_K  the governor slows the robot down so that the forecast stays below this temperature
      7   HOLD_MARGIN_K + HOLD_HYSTERESIS_K: the safety chain follows commands again
     15   WARN_MARGIN_K      diagnostics report WARN
     20   COOL_MARGIN_K      a winding has cooled down: the end of the reported cool-down time

The order matters: the governor acts before the safety chain, and the safety chain before the motor's own protection.

The levels of the fleet page do not have a fixed margin. They are fractions of the rise from `AMBIENT_C` to the limit,
because losses determine the rise: `LEVELS_C` are their temperatures for a limit of 90 °C.
"""

from __future__ import annotations

AMBIENT_C = 25.0
"""Air temperature that is assumed where it is not measured [°C]; data sheets rate motors at it."""

HOLD_MARGIN_K = 2.0
"""Margin at which the safety chain holds the robot [K]."""

HOLD_HYSTERESIS_K = 5.0
"""Further cooling after which the safety chain follows commands again [K]."""

GOVERNOR_MARGIN_K = 4.0
"""Margin that the governor keeps at its forecast horizon [K]."""

WARN_MARGIN_K = 15.0
"""Margin at which diagnostics report a warning [K]."""

COOL_MARGIN_K = 20.0
"""Margin at which a winding counts as cooled down [K]."""

LEVELS_C = (50.0, 70.0, 90.0)
"""Lower temperatures of the fleet levels warm, hot and over, for a limit of 90 °C or an unknown limit [°C].

They are those of the heat map of NVIDIA SONIC, whose drives are limited to 90 °C.
"""
