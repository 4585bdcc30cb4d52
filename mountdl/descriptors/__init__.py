"""Descriptors: files that say what bytes exist, what they hash to and where they are."""
