"""Operate the twelve-service stack: a folder for each feature, on top of core, stack and an engine."""
