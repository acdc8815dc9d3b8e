"""The classifier room: a ticket's category with a calibrated confidence, from a model that ships with the package."""
