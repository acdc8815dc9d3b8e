"""The invented overnight inbox and the reply templates that `gatebook demo` works on."""
