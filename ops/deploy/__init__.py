"""From the release that runs to another one: plan, canary, rolling update, revert, and the prober that measures it."""
