"""Machines outside the cluster: WorkloadEntries for those that are connected, and none for others.

`following` hears from every config-push which machines it has, `roster` adds that up, `plan`
decides what has to happen to an entry, `registrar` lets it happen, paced, and `cluster` or `folder`
does it.
"""
