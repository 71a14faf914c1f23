"""Layer 3: a folder of weights and vocabulary → token states, fast; the device that computes them."""
