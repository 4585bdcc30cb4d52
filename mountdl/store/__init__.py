"""The bytes on disk: sparse data files and what is known of them."""
