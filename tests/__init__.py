"""unit: plans, without a host. smoke, drill, bench: a live stack."""
