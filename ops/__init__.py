"""Operate the twelve-service stack: pure plans in `plan/`, effects in `machine/`, commands in `verbs/`."""
