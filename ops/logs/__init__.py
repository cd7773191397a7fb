"""The services' logs: searched in the log store, or in the containers' own files."""
