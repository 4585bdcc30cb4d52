"""HTTP and HTTPS mirrors."""
