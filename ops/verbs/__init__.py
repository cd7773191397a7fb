"""The commands. Each file is thin: read the project, let `ops/plan/` decide, let `ops/machine/` act, show the result."""
