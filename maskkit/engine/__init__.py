"""The workshop: where a run is trained and predicts. It is handed its parts, and knows none of them by name."""
