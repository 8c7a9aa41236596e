"""The control cycle: driver, safety chain, motion limits and heat, with time passed in and without ROS."""
