"""Sans-I/O xDS sessions: what to answer to a request, what to send after a change.

One session is one stream with all its types (ADS). `delta.DeltaSession` speaks the incremental
protocol, `sotw.SotwSession` the older one; both take requests and snapshots and return the bytes
of responses. Transport, identity and time are the caller's.
"""
