"""What every command uses and what knows nothing of the stack: steps, their execution, lock, journal, files, processes."""
