"""The processes of the mesh: each a thin shell around the rooms in `libs`."""
