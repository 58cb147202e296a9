"""The servers that are measured: ours and its peers, behind one small interface."""
