"""The shared cache: the only user of `redis`."""
