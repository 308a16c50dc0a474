"""Between bytes and text: DER, names, serial numbers, PEM and strict JSON."""
