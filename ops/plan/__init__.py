"""Pure decisions: what is wanted and what was seen go in, a Plan comes out. Nothing here may import what reaches the host."""
