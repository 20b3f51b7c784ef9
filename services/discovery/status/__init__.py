"""Status: what became of each resource, written into its `status.conditions`.

Every replica knows the objects and their problems; only the leader asks config-push for receipts,
and writes. See `conditions` for what the conditions say.
"""
