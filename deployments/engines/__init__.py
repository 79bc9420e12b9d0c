"""Engines: everything that turns a `GenerationRequest` into typed engine inputs, behind one contract (`base`)."""
