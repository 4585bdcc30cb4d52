"""The border to the kernel."""
