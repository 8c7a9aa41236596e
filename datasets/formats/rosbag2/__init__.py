"""Import and export of ROS 2 bags without ROS."""
