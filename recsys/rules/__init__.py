"""Policy over the lists: what may stand in them, how often, in what order. The models and their metrics know none."""
