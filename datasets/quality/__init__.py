"""Data quality: checks, checksums, camera latency and identification of motor constants."""
