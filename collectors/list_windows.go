package collectors

func list() []collector { return windowsList() }
