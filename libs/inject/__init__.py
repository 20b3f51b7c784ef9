"""Injection: a pod in, the same pod with a proxy out, or why not.

Pure: what is known of the cluster comes as arguments. Pods stay the plain data that they are in
JSON, because fields that nobody here knows must come out as they went in; nothing is ever made by
filling texts into a text. `inject` is the entry for pods, `manifests` for files of workloads,
`webhooks` for what an API server is told about whom to ask.
"""
