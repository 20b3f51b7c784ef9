"""HTTP and network filters, one file a feature; `order` has the one order table."""
