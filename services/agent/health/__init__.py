"""Health: whether the workload of a machine is well, probed here and told to the control plane.

A pod has a kubelet for that. `probe` is what to ask, `checker` asks, `telling` passes verdicts on.
"""
