"""Looks at a running stack as an intruder would: from the kernel, from inside its networks, from its own address."""
