"""The objectives of training, one file each."""
