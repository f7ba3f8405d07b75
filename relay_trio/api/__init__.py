"""What a vendor's folder implements: the protocols, and the parts that several vendors are made of. No I/O."""
