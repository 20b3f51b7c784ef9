"""What goes wrong in this room."""


class NodeError(ValueError):
    """A node that may not be served: malformed, or claiming what its credential does not prove."""
