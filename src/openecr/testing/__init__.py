"""What tests of OpenECR, and of programs that use it, need. Shipped."""
