"""Layer 5: a trained encoder put to use."""
