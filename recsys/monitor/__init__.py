"""What a night leaves for those who watch it: figures for Prometheus, and messages for operators."""
