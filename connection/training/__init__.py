"""Layer 4: how weights move, and how well they do."""
