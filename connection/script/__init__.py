"""Layer 1: what a script needs before torch is loaded. Imports nothing but the standard library."""
