"""Know at the doors who asks, and turn away who may not."""
