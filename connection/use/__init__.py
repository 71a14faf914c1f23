"""Layer 5: scoring with a trained encoder."""
