"""config-push: the mesh to every proxy, over ADS, with a receipt for each change."""
