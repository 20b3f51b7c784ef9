"""Generated modules of the protos in this folder."""
