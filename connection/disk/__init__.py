"""Layer 2: files that are complete or absent after a kill or a power cut at any moment."""
