"""Keys, certificates, tokens and seals: the only room that uses `cryptography`. Imports nothing."""
