"""Mount a folder of descriptors and read every file they describe before it is here."""

__version__ = "0.1.0"
