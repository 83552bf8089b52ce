package bootlog

// readWindows reads what Windows' loader measured.
func readWindows(w *working, a *Account) Fact[Windows] {
	return Fact[Windows]{Reason: NotLogged}
}
