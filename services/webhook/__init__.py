"""The admission webhooks: proxies are injected, configuration is judged, before it is stored."""
