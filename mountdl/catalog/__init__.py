"""The tree that the mount shows, built from a directory of descriptors."""
