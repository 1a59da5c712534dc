"""How the flows are run: from the command line (`cli`) and, as data, by Prefect."""
