"""Publishing: check the written tables, write the manifest last, swap the pointer."""
