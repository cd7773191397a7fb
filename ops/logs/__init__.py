"""The services' logs: searched in the log store, or asked of the engine while the store is away."""
