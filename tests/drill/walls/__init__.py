"""Single misconfigurations that have to be found, and the moves of an intruder that have to fail."""
