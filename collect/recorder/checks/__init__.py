"""What is watched beside a recording: gates before an episode, quality during it, streams, clocks and disk."""
