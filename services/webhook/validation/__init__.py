"""Validation: what becomes of the mesh's resources when somebody applies them."""
