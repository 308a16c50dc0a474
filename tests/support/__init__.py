"""What test modules share: stand-ins for stores and servers."""
