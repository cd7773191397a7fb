"""The only place that touches the host. Everything above it is told what was seen, and says what is to be done."""
