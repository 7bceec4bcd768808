"""How a device gets from one version of a model to the next, and back: a pure state machine, and what drives it."""
