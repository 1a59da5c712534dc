"""Exact top-n lists in blocks of users, and the tables they become."""
