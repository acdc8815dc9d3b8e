"""The desks: one file each, one row in `DESKS`."""
