"""Layer 2: the parts of the HTML pages."""
