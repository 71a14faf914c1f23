"""Layer 3: loads an encoder from a folder of weights and vocabulary, and computes token states; the device to compute on."""
