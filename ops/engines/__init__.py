"""Where the stack runs. Each engine stands in a folder of its own."""
