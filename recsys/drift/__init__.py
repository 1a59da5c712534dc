"""How tonight's input and lists differ from the published night's, and a row a night of it all."""
