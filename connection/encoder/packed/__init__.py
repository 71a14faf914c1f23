"""BERT's layers over packed sentences. Packed means concatenated without padding."""
