package collectors

func list() []collector { return linuxList() }
