"""What validation raises.

UnforeseenError    discovery did not say what a resource would make of the mesh; its text says why
"""


class UnforeseenError(Exception):
    """Nobody knows what a resource would make of the mesh."""
