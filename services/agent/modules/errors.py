"""Errors of this room."""


class ModuleError(Exception):
    """No module was had; the message says why in words for the user who wrote the URL."""


class DigestError(ModuleError):
    """A module was had, but it is another than the one that was asked for."""
