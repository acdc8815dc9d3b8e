"""Gatebook: what every server stands on."""
