package agent

func hostBootID() (string, error) { return linuxBootID("/") }
