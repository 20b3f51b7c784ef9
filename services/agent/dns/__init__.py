"""DNS: the answers to the application's queries, for pods that ask for DNS_CAPTURE.

`names` knows the mesh's hosts, `feed` gets them from the control plane, `messages` is the wire,
`upstream` asks the network's own servers, `server` listens.
"""
