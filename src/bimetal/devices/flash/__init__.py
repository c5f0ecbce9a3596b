"""Flash chips."""
