"""The live stack does what its users need. Read-only, or cleaned up afterwards."""
