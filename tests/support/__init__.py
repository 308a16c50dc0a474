"""Share code between test modules: stand-ins for stores and servers, and makers of input."""
