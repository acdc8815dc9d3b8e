"""The parts of the `gatebook` command, one module for what belongs together."""
