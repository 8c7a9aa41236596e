"""ROS 2 bags (MCAP and sqlite3), read and written without ROS."""
