"""Reads of a running stack as an intruder would make them: from the kernel, from its networks, from outside."""
