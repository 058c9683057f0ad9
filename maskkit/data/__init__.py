"""The images of a run: which there are, who is held out, how they are read and how they are augmented."""
