"""What the Python API is made of; users import it as `kubert`."""
