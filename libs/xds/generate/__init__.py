"""Generators: a scope in, named resources out. Pure."""
