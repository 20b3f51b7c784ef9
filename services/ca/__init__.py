"""The certificate authority: finds out who asks, then signs their key for that identity."""
