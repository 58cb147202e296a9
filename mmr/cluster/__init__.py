"""What several processes need of each other."""
