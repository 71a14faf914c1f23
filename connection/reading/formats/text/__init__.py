"""Formats that are text: CSV and TSV; the encoding and the lines of a text file."""
