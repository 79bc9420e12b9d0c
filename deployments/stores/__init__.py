"""Stores: where responses outlive the request that made them, behind one contract (`base`)."""
