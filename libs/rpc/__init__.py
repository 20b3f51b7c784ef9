"""gRPC plumbing, once: servers, channels, identities, health, error mapping."""
