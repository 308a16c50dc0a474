"""Read and write DER, names, serial numbers, PEM and JSON."""
