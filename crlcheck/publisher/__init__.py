"""What changes a published set: publishing, fetching, and what an operator does."""
