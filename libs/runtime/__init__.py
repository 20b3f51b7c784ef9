"""What a process is: settings, logs, metrics, probes, clock, an orderly end.

Imports nothing here: the agent pays for each megabyte once per pod.
"""
