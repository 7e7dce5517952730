"""What kubert is compared with, and kubert itself as one contender."""
