"""The published history: what is shown, what is kept from being shown, what may go."""
