"""Interception: the packet rules that send a workload's connections through its proxy."""
