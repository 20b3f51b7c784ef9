"""Modules of WebAssembly: fetched for Envoy, within limits, before it sees where they come from."""
