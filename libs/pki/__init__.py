"""Certificates, signing requests, tokens: the only user of `cryptography`."""
