"""One file for each operation of one dialect that another vendor serves: `ls` is the support matrix."""
