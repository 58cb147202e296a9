"""What is shipped, how it installs, and rules that hold for every module."""
