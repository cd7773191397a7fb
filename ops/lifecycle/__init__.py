"""Stop, start, restart and destroy what exists."""
