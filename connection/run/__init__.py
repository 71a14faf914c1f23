"""Layer 5: the folder of a run: begin, resume, done or refuse; the files of its result."""
