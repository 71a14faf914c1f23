"""Layer 4: losses, optimizer, schedule, evaluation, checkpoints and resuming of a training."""
