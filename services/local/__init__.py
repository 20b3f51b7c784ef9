"""The whole mesh on one machine: control plane, workloads, proxies and traffic, as processes."""
