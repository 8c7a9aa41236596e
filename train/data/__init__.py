"""waldo datasets as the training input of LeRobot."""
