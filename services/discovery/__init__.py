"""Discovery: reads the mesh's configuration, makes the model of it, and feeds it to the others."""
