"""Train the toy planner: python -m waldo.train.planner.training OUT."""

import tyro

from waldo.train.planner.training.train import PlannerTraining

raise SystemExit(tyro.cli(PlannerTraining).run())
