"""The rooms that decide: pure functions, and one adapter room for each vendor."""
