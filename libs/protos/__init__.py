"""Our own gRPC contracts: each `.proto` with its generated modules beside it (`make protos`)."""
