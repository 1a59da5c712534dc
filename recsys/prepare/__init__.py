"""From valid ratings to what models learn from: split, top-N filter, means, preference and binary matrices."""
