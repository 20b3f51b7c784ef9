"""What one proxy is and what it may see. A `ProxyScope` is all that a generator gets."""
