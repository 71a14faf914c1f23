"""Sentences indexed, and found: the nearest ones of a query, closest pairs, groups."""
