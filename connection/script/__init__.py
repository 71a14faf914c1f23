"""Layer 1: what a script needs before torch is loaded. Imports only the standard library, so that `--help` is quick."""
