"""gRPC plumbing of all services: ports, channels, identities and limits. Imports nothing here."""
