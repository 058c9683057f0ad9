"""Finding plugins, naming what they offer, and loading it only when it is used."""
