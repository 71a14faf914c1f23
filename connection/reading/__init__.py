"""Layer 3: files of any format → checked rows → train, dev and test."""
