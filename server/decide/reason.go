package decide

// Counts reports whether the reason has a say in the outcome: it is not on trial,
// not in grace, and nobody let it pass.
func (r *Reason) Counts() bool { return r.counts() }
