"""Decide and carry out which source delivers which bytes next."""
