package collectors

func list() []collector { return darwinList() }
