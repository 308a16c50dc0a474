"""Read, change and replace the catalog of a store, and describe its contents."""
