"""Searching for the best flags: what all engines share, and in `nni` the one in the box."""
