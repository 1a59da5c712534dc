"""The models, behind one interface (`base`), by name (`registry`)."""
