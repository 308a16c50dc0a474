"""What is published: the catalog, its records, and how it is replaced."""
