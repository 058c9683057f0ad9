"""Searching for the best flags with NNI: the side of a trial, and experiments from their start to their end."""
