"""Patches: EnvoyFilters, applied to what the generators have made.

A proxy that no EnvoyFilter is for pays nothing: what was generated is passed on as it is. For
others, resources are read back, changed and serialised once a class, and those that no patch
touched stay the shared objects that they were. Patches of a kind of thing act in the order in which
the scope has them, for each kind of thing from the outside in: a listener before its chains.

A patch that does not fit is left out, and everything else goes on; `Outcome` says why. Which
patches are for a proxy was decided in `libs.proxy.additions`.
"""
