"""Image codecs: H.264 in closed groups of pictures, JPEG, and shards that are MP4 files."""
