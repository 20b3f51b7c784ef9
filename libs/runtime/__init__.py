"""What a process is: settings, logs, metrics, probes, clock, tasks."""
