"""Validation rules, one file a kind."""
