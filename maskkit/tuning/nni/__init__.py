"""The engine in the box, NNI: the side of a trial, and experiments from their start to their end."""
