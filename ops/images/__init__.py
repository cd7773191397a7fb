"""Images of a release: built, fetched, saved, loaded."""
