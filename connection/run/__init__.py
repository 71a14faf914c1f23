"""Layer 5: the folder of a run: begin, resume, done or refuse; what it leaves for people."""
