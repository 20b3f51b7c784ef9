"""Counting: bytes of TCP connections while they last, which Envoy's own loggers cannot count.

Envoy tells of each connection from time to time how many bytes it has had until then. `entries`
reads that, `ledger` turns it into what was added since, `counters` keep the sums that the page of
metrics shows, `tally` is the service that Envoy calls. Why it is so: docs/adr/0061.
"""
