"""BERT's layers over packed sentences: sentences laid end to end, without padding."""
