"""The shared cache: bytes that can be made again, kept where a restart and a neighbour find them.

The only user of `redis`. What is in here is never true because it is in here: values are sealed
for their key, and whatever cannot be read in time and in order is simply not there.
"""
