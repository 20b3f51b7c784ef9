"""Sans-I/O xDS sessions, state of the world and delta."""
