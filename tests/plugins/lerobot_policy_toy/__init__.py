"""A policy of a third party, as LeRobot finds it: a package and distribution `lerobot_policy_...`."""

from . import configuration_toy as configuration_toy
