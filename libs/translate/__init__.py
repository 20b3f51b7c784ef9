"""Resources to model, incrementally. `apply` is the only entry."""
